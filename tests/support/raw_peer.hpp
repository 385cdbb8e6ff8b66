// The other side of a connection, scripted on plain blocking sockets: it can do what no well-meant
// library would.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

/// What a script throws when the other side is gone, late, or the test is over; it ends the script
/// and nothing else.
struct PeerGone : std::runtime_error {
    using runtime_error::runtime_error;
};

/// One accepted connection. Reads give up after 20 s.
class RawConnection {
public:
    explicit RawConnection(int fd) : fd_{fd} {}
    RawConnection(const RawConnection&) = delete;
    RawConnection& operator=(const RawConnection&) = delete;
    ~RawConnection();

    void send(std::string_view bytes);
    /// One byte per write.
    void trickle(std::string_view bytes);
    std::string read(std::size_t bytes);
    /// At least one byte, at most so many; gives how many. Allocates nothing.
    std::size_t read_some(char* to, std::size_t bytes);
    /// Up to and including `end`.
    std::string read_until(std::string_view end);
    void wait_for_end();
    void half_close();
    /// Ends the connection with RST.
    void reset();
    /// Answers a WebSocket handshake; gives the request.
    std::string accept_websocket();
    [[nodiscard]] int fd() const noexcept { return fd_; }

private:
    int fd_;
};

/// What answers the request's key; RFC 6455 section 4.2.2.
std::string websocket_accept(std::string_view request);
/// An unmasked frame, as a server sends it.
std::string frame(unsigned first_byte, std::string_view payload);

/// Listens on a free port of the loopback and runs the script for each connection, one after the
/// other.
class RawPeer {
public:
    using Script = std::function<void(RawConnection&)>;
    explicit RawPeer(Script script, bool is_v6 = false);
    /// Listens on a Unix-domain socket instead; '@' in front of the path: an abstract name. A file
    /// that it makes stays.
    struct UnixPath {
        std::string path;
    };
    RawPeer(Script script, const UnixPath& at);
    RawPeer(const RawPeer&) = delete;
    RawPeer& operator=(const RawPeer&) = delete;
    ~RawPeer();
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] std::string url() const;
    /// Waits until so many connections have come and gone, their descriptors too; false after 10 s.
    [[nodiscard]] bool wait_for_ended(std::size_t connections);

private:
    void run();
    void serve(int fd);

    Script script_;
    const bool is_v6_ = false;
    int listener_;
    std::uint16_t port_ = 0;
    std::mutex mutex_;
    int current_ = -1;      // guarded by mutex_
    std::size_t ended_ = 0; // guarded by mutex_
    std::condition_variable changed_;
    bool is_over_ = false; // guarded by mutex_
    std::thread thread_;
};

/// A port of the loopback that takes no connection in and refuses none: its backlog is full.
class FullBacklog {
public:
    FullBacklog();
    FullBacklog(const FullBacklog&) = delete;
    FullBacklog& operator=(const FullBacklog&) = delete;
    ~FullBacklog();
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

private:
    int open();

    std::vector<int> sockets_;
    std::uint16_t port_ = 0;
};
