// The demo's feed: a WebSocket server that publishes a reproducible stream of trades and quotes as
// JSON.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

/// Serves any number of clients from a separate thread, until it is destroyed.
class FeedServer {
public:
    /// Listens on a free port of the loopback. `rate`: messages per second to each client; zero: as
    /// fast as it takes them.
    explicit FeedServer(std::uint64_t rate);
    FeedServer(const FeedServer&) = delete;
    FeedServer& operator=(const FeedServer&) = delete;
    ~FeedServer();
    [[nodiscard]] std::string url() const;
    /// Restarts once, `after` this call: drops all clients, and accepts none during `outage`.
    void restart(std::chrono::milliseconds after, std::chrono::milliseconds outage);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};
