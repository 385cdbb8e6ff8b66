#include "socket_acceptor.hpp"

#include "dial.hpp"
#include "faulty_stream.hpp"
#include "listening.hpp"
#include "socket_setup.hpp"
#include "socket_stream.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <utility>
#include <vector>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

/// The pause before accepting is retried without resources; it doubles up to the maximum.
constexpr Duration first_shortage_pause = std::chrono::milliseconds{50};
constexpr Duration max_shortage_pause = std::chrono::seconds{1};
/// So many connections without a wait, then the loop's other tasks have their turn.
constexpr unsigned max_without_turn = 16;

/// Counts one connection, until the last owner releases it.
struct Ticket {
    Ticket(std::shared_ptr<AdmissionControl> its_control, std::optional<AddressKey> its_key)
        : control{std::move(its_control)}, key{its_key}
    {
    }
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    ~Ticket()
    {
        if (admission)
            control->release(*admission, key);
    }

    const std::shared_ptr<AdmissionControl> control; // sidecar side
    const std::optional<AddressKey> key;             // sidecar side
    std::optional<Admission> admission{};            // sidecar side; empty: not counted
};

std::optional<AddressKey> key_of_peer(const SocketStream::Socket::endpoint_type& peer)
{
    const auto family = peer.protocol().family();
    if (family != AF_INET && family != AF_INET6)
        return std::nullopt;
    return key_of(to_tcp(peer).address());
}

/// Whether accept() failed for the one connection that it took from the queue: accept(2), "Error
/// handling".
bool is_of_connection(int error)
{
    return error != EBADF && error != EINVAL && error != ENOTSOCK && error != EFAULT;
}

} // namespace

/// Invariant: no socket is open once it is closed.
struct SocketAcceptor::State : std::enable_shared_from_this<SocketAcceptor::State> {
    explicit State(ListenTarget its_target) : target{std::move(its_target)} {}

    /// Returns a socket that may have a connection; null: none has.
    [[nodiscard]] asio::posix::stream_descriptor* readable();
    [[nodiscard]] std::optional<AcceptedSocket> take(Context ctx, error_code& ec);
    [[nodiscard]] std::optional<AcceptedSocket> admit(Context ctx, SocketStream::Socket socket,
                                                      SocketStream::Socket::endpoint_type peer);
    [[nodiscard]] Task<> wait_for_resources(Context ctx, error_code ec);
    void end_shortage(Context ctx);
    void log(Context ctx, LogLevel level, std::string_view text) const
    {
        ctx.log(level, fmt::format("{}: {}", target.endpoint, text));
    }

    /// Of one listening socket.
    struct Readiness {
        bool is_readable = false;
        bool is_waiting = false;
    };

    const ListenTarget target; // sidecar side
    const std::shared_ptr<AdmissionControl> control = std::make_shared<AdmissionControl>(
        AdmissionLimits{target.max_clients, target.max_clients_per_address,
                        target.max_connections_per_second}); // sidecar side; each ticket shares it
    Listening listening{};                                   // sidecar side
    std::vector<Readiness> readiness{};                      // sidecar side; of each socket
    std::size_t turn = 0;                      // sidecar side; the socket to accept from next
    LoopEvent progress{};                      // sidecar side; a socket is readable, or a close
    std::string local{};                       // sidecar side
    std::optional<TimePoint> shortage_began{}; // sidecar side
    Duration shortage_pause{};                 // sidecar side
    std::uint32_t accepted_count = 0;          // sidecar side
    std::uint64_t closed_at_once = 0;          // sidecar side; since an answer was possible
    unsigned without_turn = 0;                 // sidecar side; connections
    bool is_closed = false;                    // sidecar side
};

SocketAcceptor::SocketAcceptor(ListenTarget target)
    : state_{std::make_shared<State>(std::move(target))}
{
}

SocketAcceptor::~SocketAcceptor() { close(); }

Task<> SocketAcceptor::bind(Context ctx)
{
    const auto state = state_;
    auto listening = co_await open_listening(ctx, state->target);
    if (state->is_closed)
        throw boost::system::system_error{asio::error::operation_aborted};
    state->listening = std::move(listening);
    auto& sockets = state->listening.sockets;
    state->readiness.resize(sockets.size());
    state->local = local_name(sockets.front().native_handle());
}

Task<AcceptedSocket> SocketAcceptor::accept(Context ctx)
{
    const auto state = state_;
    for (;;) {
        if (state->is_closed)
            throw boost::system::system_error{asio::error::operation_aborted};
        if (++state->without_turn > max_without_turn) {
            state->without_turn = 0;
            co_await asio::post(ctx.executor(), asio::use_awaitable);
            continue;
        }
        error_code ec;
        if (auto accepted = state->take(ctx, ec))
            co_return *std::move(accepted);
        if (is_without_resources(ec)) {
            co_await state->wait_for_resources(ctx, ec);
        } else if (ec == asio::error::would_block) {
            state->without_turn = 0;
            ctx.waiting_for("the next client");
            (void)co_await ctx.wait(state->progress, TimePoint::max());
        } else if (ec && !is_of_connection(ec.value())) {
            throw Exception{
                Failure{Error::disconnected,
                        {.attempted = "accept", .endpoint = state->target.endpoint, .cause = ec}}};
        }
    }
}

/// The sockets have turns. One that is not readable waits until it is.
asio::posix::stream_descriptor* SocketAcceptor::State::readable()
{
    const auto count = readiness.size();
    asio::posix::stream_descriptor* found = nullptr;
    for (std::size_t i = 0; i < count; ++i) {
        const auto at = (turn + i) % count;
        auto& one = readiness[at];
        if (one.is_readable && !found) {
            found = &listening.sockets[at];
            turn = at;
        } else if (!one.is_readable && !std::exchange(one.is_waiting, true)) {
            listening.sockets[at].async_wait(
                asio::posix::stream_descriptor::wait_read,
                [self = shared_from_this(), at](error_code ec) {
                    self->readiness[at] = {.is_readable = ec != asio::error::operation_aborted};
                    self->progress.set();
                });
        }
    }
    return found;
}

/// Accepts one connection, if one waits. Empty without an error: it has refused one, or one ended
/// before it was accepted.
std::optional<AcceptedSocket> SocketAcceptor::State::take(Context ctx, error_code& ec)
{
    auto* const from = readable();
    if (!from)
        return ec = asio::error::would_block, std::nullopt;
    SocketStream::Socket::endpoint_type peer;
    auto size = static_cast<socklen_t>(peer.capacity());
    const int listener = from->native_handle();
    const int fd = ::accept4(listener, peer.data(), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        ec = {errno, boost::system::system_category()};
    // Without a descriptor the system does not look whether a connection waits
    pollfd entry{.fd = listener, .events = POLLIN, .revents = 0};
    if (ec == asio::error::would_block || (is_without_resources(ec) && ::poll(&entry, 1, 0) == 0)) {
        readiness[turn].is_readable = false;
        ec = {};
        return std::nullopt;
    }
    turn = (turn + 1) % readiness.size();
    if (ec)
        return std::nullopt;
    peer.resize(size);
    SocketStream::Socket socket{ctx.executor()};
    try {
        if (socket.assign({peer.protocol().family(), 0}, fd, ec); ec)
            return ::close(fd), std::nullopt;
        return admit(ctx, std::move(socket), std::move(peer));
    } catch (const std::bad_alloc&) {
        ec = boost::system::errc::make_error_code(boost::system::errc::not_enough_memory);
        return std::nullopt;
    }
}

std::optional<AcceptedSocket> SocketAcceptor::State::admit(Context ctx, SocketStream::Socket socket,
                                                           SocketStream::Socket::endpoint_type peer)
{
    end_shortage(ctx);
    const auto ticket = std::make_shared<Ticket>(control, key_of_peer(peer));
    ticket->admission = control->admit(ticket->key, ctx.now());
    if (!ticket->admission) {
        if (++closed_at_once == 1)
            log(ctx, LogLevel::warning,
                fmt::format("{} refused connections wait for their answer; it closes further ones "
                            "at once",
                            AdmissionControl::max_refused));
        return std::nullopt;
    }
    if (const auto count = std::exchange(closed_at_once, 0); count != 0)
        log(ctx, LogLevel::warning,
            fmt::format("it closed {} refused connections without an answer", count));
    const int fd = socket.native_handle();
    if (peer.protocol().family() == AF_UNIX) // does not inherit them
        (void)set_up_unix(fd, {.options = target.socket});
    AcceptedSocket accepted{.stream = nullptr,
                            .peer = peer_name(fd, peer),
                            .local = local_name(fd),
                            .admission = *ticket->admission,
                            .ticket = ticket};
    auto stream = std::make_shared<SocketStream>(std::move(socket));
    accepted.stream = stream;
    ++accepted_count;
    if (target.faults && target.faults->any()) {
        accepted.faults = std::make_shared<ConnectionFaults>(*target.faults,
                                                             Attempt{.connection = accepted_count});
        accepted.faults->announce(ctx, accepted.peer);
        accepted.stream = std::make_shared<FaultyStream>(ctx, std::move(stream), accepted.faults);
    }
    return accepted;
}

Task<> SocketAcceptor::State::wait_for_resources(Context ctx, error_code ec)
{
    if (!shortage_began) {
        shortage_began = ctx.now();
        shortage_pause = first_shortage_pause;
        log(ctx, LogLevel::warning,
            fmt::format("it cannot accept a connection: {}; it tries again", ec.message()));
    }
    const auto until = ctx.now() + shortage_pause;
    shortage_pause = std::min(2 * shortage_pause, max_shortage_pause);
    ctx.waiting_for("resources to accept a client");
    while (!is_closed && ctx.now() < until)
        (void)co_await ctx.wait(progress, until);
}

void SocketAcceptor::State::end_shortage(Context ctx)
{
    if (const auto began = std::exchange(shortage_began, std::nullopt))
        log(ctx, LogLevel::warning,
            fmt::format(
                "it accepts connections again, after {} ms",
                std::chrono::duration_cast<std::chrono::milliseconds>(ctx.now() - *began).count()));
}

void SocketAcceptor::close() noexcept
{
    state_->is_closed = true;
    state_->listening.file.reset();
    error_code ec; // ignored: the sockets are gone in any case
    for (auto& socket : state_->listening.sockets)
        socket.close(ec);
    state_->progress.set();
}

std::string SocketAcceptor::local() const { return state_->local; }

} // namespace sidecar::stream
