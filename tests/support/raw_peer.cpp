#include "raw_peer.hpp"

#include <boost/beast/websocket/detail/hybi13.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>

RawConnection::~RawConnection()
{
    if (fd_ >= 0)
        ::close(fd_);
}

void RawConnection::send(std::string_view bytes)
{
    while (!bytes.empty()) {
        const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0)
            throw PeerGone{"send"};
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}

void RawConnection::trickle(std::string_view bytes)
{
    for (const char& c : bytes)
        send({&c, 1});
}

std::string RawConnection::read(std::size_t bytes)
{
    std::string text(bytes, '\0');
    for (std::size_t at = 0; at < bytes;)
        at += read_some(text.data() + at, bytes - at);
    return text;
}

std::size_t RawConnection::read_some(char* to, std::size_t bytes)
{
    const auto n = ::recv(fd_, to, bytes, 0);
    if (n <= 0)
        throw PeerGone{"read"};
    return static_cast<std::size_t>(n);
}

std::string RawConnection::read_until(std::string_view end)
{
    std::string text;
    while (!text.ends_with(end))
        text += read(1);
    return text;
}

void RawConnection::wait_for_end()
{
    char bytes[4096];
    while (::recv(fd_, bytes, sizeof bytes, 0) > 0) {
    }
}

void RawConnection::half_close() { ::shutdown(fd_, SHUT_WR); }

void RawConnection::reset()
{
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(fd_);
    fd_ = -1;
}

std::string RawConnection::accept_websocket()
{
    auto request = read_until("\r\n\r\n");
    send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
         "Upgrade\r\nSec-WebSocket-Accept: "
         + websocket_accept(request) + "\r\n\r\n");
    return request;
}

std::string websocket_accept(std::string_view request)
{
    namespace detail = boost::beast::websocket::detail;
    constexpr std::string_view field = "Sec-WebSocket-Key: ";
    const auto begin = request.find(field) + field.size();
    detail::sec_ws_accept_type accept;
    detail::make_sec_ws_accept(accept, request.substr(begin, request.find('\r', begin) - begin));
    return {accept.data(), accept.size()};
}

std::string frame(unsigned first_byte, std::string_view payload)
{
    std::string text(1, static_cast<char>(first_byte));
    const auto size = payload.size();
    if (size < 126) {
        text += static_cast<char>(size);
    } else {
        const unsigned width = size < 65536 ? 2 : 8;
        text += static_cast<char>(width == 2 ? 126 : 127);
        for (unsigned i = width; i-- > 0;)
            text += static_cast<char>(size >> (8 * i) & 0xff);
    }
    return text.append(payload);
}

RawPeer::RawPeer(Script script, bool is_v6)
    : script_{std::move(script)},
      is_v6_{is_v6},
      listener_{::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}
{
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_loopback;
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* address = is_v6 ? reinterpret_cast<sockaddr*>(&v6) : reinterpret_cast<sockaddr*>(&v4);
    socklen_t size = is_v6 ? sizeof v6 : sizeof v4;
    if (listener_ < 0 || ::bind(listener_, address, size) != 0 || ::listen(listener_, 64) != 0
        || ::getsockname(listener_, address, &size) != 0)
        throw std::runtime_error{"no listening socket"};
    port_ = ntohs(is_v6 ? v6.sin6_port : v4.sin_port);
    thread_ = std::thread{[this] { run(); }};
}

RawPeer::RawPeer(Script script, const UnixPath& at)
    : script_{std::move(script)}, listener_{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    at.path.copy(address.sun_path, sizeof address.sun_path - 1);
    const bool is_abstract = at.path.starts_with('@');
    if (is_abstract)
        address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + at.path.size()
                                             + (is_abstract ? 0 : 1));
    if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0
        || ::listen(listener_, 64) != 0)
        throw std::runtime_error{"no listening socket at " + at.path};
    thread_ = std::thread{[this] { run(); }};
}

RawPeer::~RawPeer()
{
    {
        std::lock_guard lock{mutex_};
        is_over_ = true;
        if (current_ >= 0)
            ::shutdown(current_, SHUT_RDWR);
    }
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
}

std::string RawPeer::url() const
{
    return (is_v6_ ? "ws://[::1]:" : "ws://127.0.0.1:") + std::to_string(port_) + "/";
}

void RawPeer::run()
{
    for (;;) {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0)
            return;
        serve(fd);
        std::lock_guard lock{mutex_};
        ++ended_;
        changed_.notify_all();
        if (is_over_)
            return;
    }
}

void RawPeer::serve(int fd)
{
    const timeval patience{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    RawConnection connection{fd};
    {
        std::lock_guard lock{mutex_};
        if (is_over_)
            return;
        current_ = fd;
    }
    try {
        script_(connection);
    } catch (const PeerGone&) {
    }
    std::lock_guard lock{mutex_};
    current_ = -1;
}

bool RawPeer::wait_for_ended(std::size_t connections)
{
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return ended_ >= connections; });
}

FullBacklog::FullBacklog()
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    const int listener = open();
    if (::bind(listener, any, size) != 0 || ::listen(listener, 0) != 0
        || ::getsockname(listener, any, &size) != 0)
        throw std::runtime_error{"no listening socket"};
    port_ = ntohs(address.sin_port);
    for (pollfd entry{.fd = -1, .events = POLLOUT, .revents = 0};;) {
        entry.fd = open();
        (void)::connect(entry.fd, any, size);
        if (::poll(&entry, 1, 200) == 0)
            return;
    }
}

FullBacklog::~FullBacklog()
{
    for (const int fd : sockets_)
        ::close(fd);
}

int FullBacklog::open()
{
    return sockets_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}
