#include <sidecar/peers/server.hpp>

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <limits>
#include <mutex>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace sidecar {

ServerProtocol::~ServerProtocol() = default;

namespace {

/// Owns a descriptor.
class OwnedFd {
public:
    explicit OwnedFd(int fd = -1) noexcept : fd_{fd} {}
    OwnedFd(OwnedFd&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    OwnedFd& operator=(OwnedFd&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~OwnedFd()
    {
        if (fd_ >= 0)
            ::close(fd_);
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }
    void close() noexcept { *this = OwnedFd{}; }

private:
    int fd_;
};

int checked(int result, const char* what)
{
    if (result < 0)
        throw std::system_error{errno, std::generic_category(), what};
    return result;
}

OwnedFd make_socket()
{
    return OwnedFd{
        checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket")};
}

void set(const OwnedFd& socket, int level, int name, int value)
{
    (void)::setsockopt(socket.get(), level, name, &value, sizeof value);
}

constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

} // namespace

/// The thread moves bytes; calls of the kit change the state under the mutex and wake it.
struct ServerPeer::Impl {
    Impl(std::unique_ptr<ServerProtocol> its_protocol, std::size_t its_buffered_bytes);
    ~Impl();

    template <class Change>
    void apply(Change change)
    {
        std::lock_guard lock{mutex};
        change();
        wake_up();
    }
    void wake_up() const noexcept { (void)::eventfd_write(wake.get(), 1); }
    void run();
    void handle(short listener_events, short connection_events);
    void receive();
    void decode();
    void send();
    void break_connection();

    const std::size_t buffered_bytes; // both: constant
    OwnedFd wake;                     // both: constant
    std::uint16_t port = 0;           // both: constant
    std::mutex mutex;
    std::unique_ptr<ServerProtocol> protocol; // both: guarded by mutex
    OwnedFd listener, connection;             // both: guarded by mutex
    std::vector<OwnedFd> backlog;             // both: guarded by mutex; of hold_connect()
    std::string in, out, waiting;            // both: guarded by mutex; `waiting`: for the handshake
    ServerProtocol::Arrived arrived;         // both: guarded by mutex
    std::size_t reset_at = none;             // both: guarded by mutex; messages
    bool holds = false, holds_close = false; // both: guarded by mutex
    bool is_closing = false;                 // both: guarded by mutex; ends its half after `out`
    bool has_ended_half = false;             // both: guarded by mutex
    bool must_break = false;                 // both: guarded by mutex
    bool is_over = false;                    // both: guarded by mutex
    bool has_seen_end = false;               // both: guarded by mutex; of the transport's half
    std::thread thread;                      // sidecar side
};

ServerPeer::Impl::Impl(std::unique_ptr<ServerProtocol> its_protocol, std::size_t its_buffered_bytes)
    : buffered_bytes{its_buffered_bytes},
      wake{checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")},
      protocol{std::move(its_protocol)},
      listener{make_socket()}
{
    set(listener, SOL_SOCKET, SO_RCVBUF, 64 << 10); // accepted sockets have it too
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    checked(::bind(listener.get(), any, size), "bind");
    checked(::listen(listener.get(), 8), "listen");
    checked(::getsockname(listener.get(), any, &size), "getsockname");
    port = ntohs(address.sin_port);
    thread = std::thread{[this] { run(); }};
}

ServerPeer::Impl::~Impl()
{
    apply([&] { is_over = true; });
    thread.join();
}

void ServerPeer::Impl::run()
{
    for (;;) {
        std::array<pollfd, 3> entries{};
        {
            std::lock_guard lock{mutex};
            if (is_over)
                return;
            const bool reads = !holds && !has_seen_end;
            const bool writes = !out.empty() || (is_closing && !has_ended_half);
            entries = {
                pollfd{wake.get(), POLLIN, 0},
                pollfd{backlog.empty() && !connection.is_open() ? listener.get() : -1, POLLIN, 0},
                pollfd{reads || writes ? connection.get() : -1,
                       static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)), 0}};
        }
        (void)::poll(entries.data(), entries.size(), -1);
        eventfd_t count = 0;
        (void)::eventfd_read(wake.get(), &count);
        std::lock_guard lock{mutex};
        handle(entries[1].revents, entries[2].revents);
    }
}

void ServerPeer::Impl::handle(short listener_events, short connection_events)
{
    if (listener_events != 0 && listener.is_open() && !connection.is_open()) {
        connection =
            OwnedFd{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        set(connection, IPPROTO_TCP, TCP_NODELAY, 1);
        out += protocol->greeting();
    }
    if (!connection.is_open())
        return;
    if (must_break)
        return break_connection();
    if ((connection_events & (POLLIN | POLLHUP | POLLERR)) != 0 && !holds)
        receive();
    if (connection.is_open())
        send();
}

void ServerPeer::Impl::receive()
{
    std::array<char, 64u << 10> bytes;
    const auto got = ::recv(connection.get(), bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got < 0)
        return connection.close();
    if (got == 0) {
        has_seen_end = true;
        if (protocol->closes_by_end())
            arrived.is_closed = true;
        is_closing |= !holds_close;
        return;
    }
    in.append(bytes.data(), static_cast<std::size_t>(got));
    decode();
    if (arrived.messages.size() >= reset_at)
        break_connection();
}

void ServerPeer::Impl::decode()
{
    in.erase(0, protocol->decode(in, arrived));
    out += std::exchange(arrived.answer, {});
    if (auto answer = std::exchange(arrived.close_answer, {}); !holds_close && !answer.empty()) {
        out += answer;
        is_closing = true;
    }
    if (protocol->is_open())
        out += std::exchange(waiting, {});
}

void ServerPeer::Impl::send()
{
    while (!out.empty()) {
        const auto sent = ::send(connection.get(), out.data(), out.size(), MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (sent < 0)
            return connection.close();
        out.erase(0, static_cast<std::size_t>(sent));
    }
    if (is_closing && !std::exchange(has_ended_half, true))
        ::shutdown(connection.get(), SHUT_WR);
}

void ServerPeer::Impl::break_connection()
{
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    connection.close();
}

// --- the peer

ServerPeer::ServerPeer(std::unique_ptr<ServerProtocol> protocol, std::size_t buffered_bytes)
    : impl_{std::make_unique<Impl>(std::move(protocol), buffered_bytes)}
{
}

ServerPeer::~ServerPeer() = default;

std::uint16_t ServerPeer::port() const noexcept { return impl_->port; }

bool ServerPeer::refuse_connect()
{
    impl_->apply([&] {
        // The thread's poll() keeps a closed socket listening for a moment; this does not
        (void)::shutdown(impl_->listener.get(), SHUT_RDWR);
        impl_->listener.close();
    });
    return true;
}

/// Without a handshake the system answers a connect, unless the listener's queue is full.
bool ServerPeer::hold_connect()
{
    auto& impl = *impl_;
    if (impl.protocol->has_handshake())
        return impl.apply([&] { impl.holds = true; }), true;
    std::lock_guard lock{impl.mutex};
    (void)::listen(impl.listener.get(), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(impl.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 16; ++i) {
        auto& socket = impl.backlog.emplace_back(make_socket());
        (void)::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
        pollfd entry{socket.get(), POLLOUT, 0};
        if (::poll(&entry, 1, 30) == 0)
            return impl.wake_up(), true;
    }
    return false;
}

bool ServerPeer::deliver(MessageKind kind, std::string_view payload)
{
    return deliver_part(kind, payload, 0, 1);
}

bool ServerPeer::deliver_part(MessageKind kind, std::string_view payload, std::size_t index,
                              std::size_t count)
{
    auto& impl = *impl_;
    impl.apply([&] {
        const auto bytes = impl.protocol->encode(kind, payload);
        const auto begin = bytes.size() * index / count, end = bytes.size() * (index + 1) / count;
        auto& to = impl.protocol->is_open() ? impl.out : impl.waiting;
        to.append(bytes, begin, end - begin);
    });
    return true;
}

std::optional<std::vector<PeerMessage>> ServerPeer::received()
{
    std::lock_guard lock{impl_->mutex};
    return impl_->arrived.messages;
}

std::optional<std::size_t> ServerPeer::hold()
{
    impl_->apply([&] { impl_->holds = true; });
    return impl_->buffered_bytes;
}

void ServerPeer::release()
{
    impl_->apply([&] { impl_->holds = false; });
}

bool ServerPeer::reset()
{
    impl_->apply([&] { impl_->must_break = true; });
    return true;
}

bool ServerPeer::reset_after(std::size_t messages)
{
    impl_->apply([&] { impl_->reset_at = impl_->arrived.messages.size() + messages; });
    return true;
}

bool ServerPeer::close()
{
    impl_->apply([&] {
        impl_->out += impl_->protocol->close_bytes();
        impl_->is_closing = true;
    });
    return true;
}

bool ServerPeer::hold_close()
{
    impl_->apply([&] { impl_->holds_close = true; });
    return true;
}

std::optional<bool> ServerPeer::was_closed()
{
    std::lock_guard lock{impl_->mutex};
    return impl_->arrived.is_closed;
}

std::optional<CloseReason> ServerPeer::close_reason()
{
    std::lock_guard lock{impl_->mutex};
    return impl_->arrived.close_reason;
}

} // namespace sidecar
