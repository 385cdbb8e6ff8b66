// What a socket is told: judged without one, taken by the system's, refused by it.
#include "listener.hpp"
#include "socket_setup.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>

#include <netinet/tcp.h>

#include <string>

namespace socket_setup_test {

using namespace sidecar;
using namespace std::chrono_literals;
using stream::SocketSetup;

struct Socket {
    explicit Socket(int family) : fd{::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)} {}
    ~Socket() { ::close(fd); }
    [[nodiscard]] int get(int level, int option) const
    {
        int value = -1;
        socklen_t size = sizeof value;
        REQUIRE(::getsockopt(fd, level, option, &value, &size) == 0);
        return value;
    }
    int fd;
};

const stream::SocketSetup defaults{};
const boost::asio::ip::tcp::endpoint peer_v4{boost::asio::ip::make_address("127.0.0.1"), 1};

/// Empty: they are good.
std::string why(const stream::SocketSetup& setup, bool is_unix)
{
    const auto valid = stream::validate(setup, is_unix);
    return valid ? std::string{} : valid.error().explanation();
}
std::string why(const SocketOptions& options, bool is_unix = false)
{
    return why(stream::SocketSetup{.options = options}, is_unix);
}

TEST_CASE("socket: values that make no sense are told by the option's name")
{
    CHECK(why(defaults, false).empty());
    CHECK(why(defaults, true).empty());
    const std::pair<SocketOptions, const char*> cases[] = {
        {{.receive_buffer_bytes = 1u << 31}, "receive_buffer_bytes"},
        {{.send_buffer_bytes = SIZE_MAX}, "send_buffer_bytes"},
        {{.user_timeout = -1ns}, "user_timeout"},
        {{.user_timeout = 1000h}, "user_timeout"},
        {{.keep_alive_idle = -1s}, "keep_alive_idle"},
        {{.keep_alive_idle = 32768s}, "keep_alive_idle"},
        {{.keep_alive_interval = -1s}, "keep_alive_interval"},
        {{.keep_alive_interval = 32767s + 1ns}, "keep_alive_interval"},
        {{.keep_alive_probes = 128}, "keep_alive_probes"},
        {{.bind_address = "localhost"}, "bind_address"},
        {{.bind_address = "127.0.0.1:80"}, "bind_address"},
        {{.bind_address = "[::1]"}, "bind_address"},
        {{.busy_poll = -1us}, "busy_poll"},
        {{.busy_poll = 1h}, "busy_poll"},
    };
    for (const auto& [first, second] : cases) { // clang 14 captures no structured binding
        const auto& options = first;
        const auto& name = second;
        CAPTURE(name);
        CHECK(why(options).starts_with(name));
    }
    CHECK(why({.receive_buffer_bytes = 1,
               .send_buffer_bytes = 1,
               .user_timeout = 1ms,
               .keep_alive_idle = 32767s,
               .keep_alive_interval = 1ns,
               .keep_alive_probes = 127,
               .bind_address = "::1",
               .busy_poll = 1us})
              .empty());
    CHECK(why(SocketSetup{.tcp_keepalive = false, .options = {.keep_alive_idle = 1s}}, false)
              .starts_with("tcp_keepalive is off"));
}

TEST_CASE("socket: on a Unix-domain socket what only TCP has is refused by name")
{
    CHECK(why({.receive_buffer_bytes = 1, .send_buffer_bytes = 1}, true).empty());
    CHECK(why({.user_timeout = 1s}, true).starts_with("user_timeout has no meaning"));
    CHECK(why({.keep_alive_idle = 1s}, true).starts_with("keep_alive_idle"));
    CHECK(why({.keep_alive_probes = 1}, true).starts_with("keep_alive_idle"));
    CHECK(why({.bind_address = "::1"}, true).starts_with("bind_address"));
    CHECK(why({.busy_poll = 1us}, true).starts_with("busy_poll"));
}

TEST_CASE("socket: the system has what the options say, parts that do not count rounded up")
{
    const Socket tcp{AF_INET};
    const SocketSetup setup{.no_delay = true,
                            .tcp_keepalive = true,
                            .options = {.receive_buffer_bytes = 20'000,
                                        .send_buffer_bytes = 30'000,
                                        .user_timeout = 1500us,
                                        .keep_alive_idle = 10s,
                                        .keep_alive_interval = 2001ms,
                                        .keep_alive_probes = 4}};
    REQUIRE_FALSE(stream::set_up_tcp(tcp.fd, setup, peer_v4));
    CHECK(tcp.get(IPPROTO_TCP, TCP_NODELAY) != 0);
    CHECK(tcp.get(SOL_SOCKET, SO_KEEPALIVE) != 0);
    CHECK(tcp.get(SOL_SOCKET, SO_RCVBUF) == 40'000);
    CHECK(tcp.get(SOL_SOCKET, SO_SNDBUF) == 60'000);
    CHECK(tcp.get(IPPROTO_TCP, TCP_USER_TIMEOUT) == 2);
    CHECK(tcp.get(IPPROTO_TCP, TCP_KEEPIDLE) == 10);
    CHECK(tcp.get(IPPROTO_TCP, TCP_KEEPINTVL) == 3);
    CHECK(tcp.get(IPPROTO_TCP, TCP_KEEPCNT) == 4);

    const Socket plain{AF_INET}, untouched{AF_INET};
    REQUIRE_FALSE(
        stream::set_up_tcp(plain.fd, {.no_delay = false, .tcp_keepalive = false}, peer_v4));
    CHECK(plain.get(IPPROTO_TCP, TCP_NODELAY) == 0);
    CHECK(plain.get(SOL_SOCKET, SO_KEEPALIVE) == 0);
    for (const int option : {SO_RCVBUF, SO_SNDBUF, SO_BUSY_POLL})
        CHECK(plain.get(SOL_SOCKET, option) == untouched.get(SOL_SOCKET, option));

    const Socket local{AF_UNIX};
    REQUIRE_FALSE(stream::set_up_unix(local.fd, setup));
    CHECK(local.get(SOL_SOCKET, SO_SNDBUF) == 60'000);
}

TEST_CASE("socket: what the system refuses is told by the option's name")
{
    const Socket tcp{AF_INET};
    const auto busy = stream::set_up_tcp(tcp.fd, {.options = {.busy_poll = 50us}}, peer_v4);
    if (busy) { // without CAP_NET_ADMIN
        CHECK(busy->what.find("SO_BUSY_POLL of 50 us was refused") != std::string::npos);
        CHECK(busy->what.find("CAP_NET_ADMIN") != std::string::npos);
        CHECK(busy->ec.value() == EPERM);
    } else {
        CHECK(tcp.get(SOL_SOCKET, SO_BUSY_POLL) == 50);
    }
    const Socket closed{-1};
    const auto refused =
        stream::set_up_tcp(closed.fd, {.options = {.receive_buffer_bytes = 10}}, peer_v4);
    REQUIRE(refused);
    CHECK(refused->what == "SO_RCVBUF of 10 bytes was refused");
    CHECK(refused->ec.value() == EBADF);
}

TEST_CASE("socket: bind_address is where the connection comes from")
{
    std::string from;
    RawPeer peer{[&](RawConnection& c) {
        sockaddr_in address{};
        socklen_t size = sizeof address;
        ::getpeername(c.fd(), reinterpret_cast<sockaddr*>(&address), &size);
        char text[INET_ADDRSTRLEN]{};
        from = ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
        c.send("hello\n");
        c.wait_for_end();
    }};
    Sidecar<Tcp<Lines>> feed{
        {.host = "127.0.0.1", .port = peer.port(), .socket = {.bind_address = "127.0.0.7"}},
        silent_options()};
    REQUIRE(feed.start(10s));
    CHECK(feed.receive(10s).value().text() == "hello");
    CHECK(from == "127.0.0.7");
}

TEST_CASE("socket: a bind_address that is not ours, or of a family that the peer has not, is told")
{
    RawPeer peer{[](RawConnection& c) { c.wait_for_end(); }};
    const auto failure_with = [&](std::string address) {
        Sidecar<Tcp<Lines>> feed{{.host = "127.0.0.1",
                                  .port = peer.port(),
                                  .socket = {.bind_address = std::move(address)}},
                                 silent_options()};
        return feed.start(10s).error();
    };
    const auto strange = failure_with("192.0.2.1");
    CHECK(strange == Error::connect_failed);
    CHECK(strange.message().find("bind_address 192.0.2.1 was refused") != std::string::npos);
    CHECK(strange.cause().value() == EADDRNOTAVAIL);
    const auto other = failure_with("::1");
    CHECK(other == Error::connect_failed);
    CHECK(other.message().find("bind_address ::1 is of the other family") != std::string::npos);

    auto options = silent_options();
    options.lookup = [](const std::string&) {
        return std::vector{boost::asio::ip::make_address("::1"),
                           boost::asio::ip::make_address("127.0.0.1")};
    };
    Sidecar<Tcp<Lines>> both{
        {.host = "both.example", .port = peer.port(), .socket = {.bind_address = "127.0.0.1"}},
        options};
    CHECK(both.start(10s)); // by the address of that family
}

} // namespace socket_setup_test
