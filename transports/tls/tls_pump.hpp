// Sends what a TlsEngine puts out. Private to TLS.
#pragma once

#include "engine.hpp"
#include "stream.hpp"

#include <sidecar/loop_event.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace sidecar::stream {

/// The only one that writes to the stream below: for who waits until something is out, and in the
/// background for what reading put out (the answer to a KeyUpdate, an alert). Owned by its stream
/// and by its own sending in the background. Side: the loop's thread.
///
/// Invariants: one write_some at a time; what was put out goes in its order, also after whoever
/// waited for it was cancelled; after the first error nothing goes.
class TlsPump : public std::enable_shared_from_this<TlsPump> {
public:
    TlsPump(std::shared_ptr<Stream> below, std::shared_ptr<TlsEngine> engine);
    TlsPump(const TlsPump&) = delete;
    TlsPump& operator=(const TlsPump&) = delete;
    ~TlsPump();

    /// Waits until so many bytes of all that was ever put out are sent, or sending has failed. Any
    /// number may wait. Throws system_error where the awaiting coroutine is cancelled.
    [[nodiscard]] Task<> flush(std::uint64_t put_bytes);
    /// Sends all there is, in the background.
    void start();
    /// No more is sent.
    void abort() noexcept;

    [[nodiscard]] std::uint64_t sent_bytes() const noexcept { return sent_bytes_; }
    [[nodiscard]] error_code error() const noexcept { return error_; }

private:
    struct Waiter;
    struct Turn;
    [[nodiscard]] bool has_more() const noexcept;
    [[nodiscard]] Task<> send_some();
    [[nodiscard]] static Task<> run(std::shared_ptr<TlsPump> self);
    void end_turn();

    const std::shared_ptr<Stream> below_;     // sidecar side
    const std::shared_ptr<TlsEngine> engine_; // sidecar side
    std::vector<std::byte> sending_;          // sidecar side; taken from the engine
    std::size_t at_ = 0;                      // sidecar side; how much of it is out
    std::uint64_t sent_bytes_ = 0;            // sidecar side; in all
    std::vector<Waiter*> waiters_;            // sidecar side
    error_code error_;                        // sidecar side
    bool is_pumping_ = false;                 // sidecar side
};

} // namespace sidecar::stream
