// The load of a server's benchmark: many clients on one epoll thread.
#pragma once

#include "../harness.hpp"

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bench {

/// A server in a process of its own. It ends with this object.
class ServerProcess {
public:
    explicit ServerProcess(const std::vector<std::string>& command);
    ServerProcess(const ServerProcess&) = delete;
    ServerProcess& operator=(const ServerProcess&) = delete;
    ~ServerProcess();

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    void say(std::string_view text) const;
    [[nodiscard]] std::string read_line();
    /// The processor time of all its threads, and its memory.
    [[nodiscard]] double cpu_seconds() const;
    [[nodiscard]] std::size_t resident_bytes() const;

private:
    int to_ = -1, from_ = -1;
    pid_t pid_ = -1;
    std::uint16_t port_ = 0;
    std::string text_;
};

/// The clients. They shake hands by hand, check each frame and count.
class Load {
public:
    explicit Load(const ServerProcess& server);
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;
    ~Load();

    /// Connects further clients.
    void connect(std::size_t count);
    /// Connects a client that never reads after its handshake.
    void connect_deaf();
    /// Reads until each client has got `count` further messages of so many bytes. Writes a dot to
    /// the server for each message that all have. Returns the time of the last byte. Throws if a
    /// byte is wrong, or if there is one too many.
    Clock::time_point receive(std::size_t count, std::size_t payload_bytes);
    /// The times from a broadcast to its arrival at each client, since the last call.
    [[nodiscard]] Histogram take_latencies();
    /// Connects, shakes hands and closes for so long, `at_once` at the same time; returns how often.
    std::size_t connect_for(Clock::duration time, std::size_t at_once);
    /// One client sends `count` messages, each once the one before is back.
    Histogram round_trips(std::size_t count);

private:
    struct Client {
        int fd = -1;
        bool is_open = false;
        std::size_t received = 0;
        std::uint64_t number = 0; // of its last message
        std::string rest{};       // of a frame
    };

    Client& start(std::size_t place);
    /// Continues a handshake; returns whether it is complete now.
    bool shake_hands(Client& client);
    void wait(int timeout, const std::function<void(std::size_t)>& handler);
    void take(Client& client, std::string_view bytes);

    const ServerProcess& server_;
    int epoll_ = -1;
    std::vector<Client> clients_;
    std::vector<int> deaf_;
    std::string head_;
    std::size_t payload_bytes_ = 0, expected_ = 0, complete_ = 0;
    std::vector<std::size_t> arrived_; // the clients that have this message
    Histogram latencies_;
};

} // namespace bench
