// A listening socket of the loopback for a test that plays the peer itself, on its own thread.
#pragma once

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>
#include <vector>

/// Listens at an address of 127/8; a mute one has a full backlog, so nobody is let in or refused.
class LoopbackListener {
public:
    struct Connection {
        int fd;
        void send(std::string_view bytes) const
        {
            while (!bytes.empty()) {
                const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
                REQUIRE(n > 0);
                bytes.remove_prefix(static_cast<std::size_t>(n));
            }
        }
    };

    LoopbackListener(const char* address, std::uint16_t port, bool is_mute = false) : fd_{open()}
    {
        address_.sin_family = AF_INET;
        address_.sin_port = htons(port);
        REQUIRE(::inet_pton(AF_INET, address, &address_.sin_addr) == 1);
        auto* const any = reinterpret_cast<sockaddr*>(&address_);
        socklen_t size = sizeof address_;
        const int on = 1;
        ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        REQUIRE(::bind(fd_, any, size) == 0);
        REQUIRE(::listen(fd_, is_mute ? 0 : 100) == 0);
        REQUIRE(::getsockname(fd_, any, &size) == 0);
        while (is_mute) {
            pollfd entry{.fd = open(SOCK_NONBLOCK), .events = POLLOUT, .revents = 0};
            (void)::connect(entry.fd, any, size);
            if (::poll(&entry, 1, 200) == 0)
                break;
        }
    }
    LoopbackListener(const LoopbackListener&) = delete;
    LoopbackListener& operator=(const LoopbackListener&) = delete;
    ~LoopbackListener()
    {
        for (const int fd : sockets_)
            ::close(fd);
    }
    [[nodiscard]] std::uint16_t port() const noexcept { return ntohs(address_.sin_port); }
    /// Waits for a connection; it stays open as long as this.
    Connection accept()
    {
        const int fd = sockets_.emplace_back(::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(fd >= 0);
        return Connection{fd};
    }

private:
    int open(int flags = 0)
    {
        return sockets_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    }
    std::vector<int> sockets_;
    sockaddr_in address_{};
    int fd_;
};
