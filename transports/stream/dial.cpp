#include "dial.hpp"

#include "faulty_stream.hpp"
#include "socket_stream.hpp"
#include "text.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <fmt/format.h>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <deque>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;
using asio::ip::tcp;

// --- decisions, without I/O

std::vector<Endpoint> alternate_families(const std::vector<boost::asio::ip::address>& addresses,
                                         std::uint16_t port)
{
    std::vector<Endpoint> first, other, ordered;
    for (const auto& address : addresses)
        (address.is_v6() == addresses.front().is_v6() ? first : other).emplace_back(address, port);
    for (std::size_t i = 0; i < std::max(first.size(), other.size()); ++i) {
        if (i < first.size())
            ordered.push_back(first[i]);
        if (i < other.size())
            ordered.push_back(other[i]);
    }
    return ordered;
}

std::string to_text(const Endpoint& endpoint)
{
    const auto address = endpoint.address().to_string();
    return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                      : fmt::format("{}:{}", address, endpoint.port());
}

bool is_without_resources(error_code ec) noexcept
{
    if (ec.category() != boost::system::system_category()
        && ec.category() != boost::system::generic_category())
        return false;
    switch (ec.value()) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC: return true; // the last: too many descriptors are watched by epoll
    default: return false;
    }
}

DialPlan::DialPlan(std::vector<Endpoint> endpoints, TimePoint now) : next_at_{now}
{
    for (auto& endpoint : endpoints)
        attempts_.push_back({.endpoint = std::move(endpoint)});
}

std::optional<std::size_t> DialPlan::next(TimePoint now)
{
    if (now < next_at())
        return std::nullopt;
    next_at_ = now + attempt_delay;
    return begun_++;
}

TimePoint DialPlan::next_at() const noexcept
{
    return begun_ < attempts_.size() ? next_at_ : TimePoint::max();
}

void DialPlan::failed(std::size_t attempt, error_code ec, TimePoint now, std::string why)
{
    auto& a = attempts_.at(attempt);
    a.has_failed = true;
    a.ec = ec;
    a.why = std::move(why);
    next_at_ = now;
}

bool DialPlan::is_over() const noexcept
{
    return begun_ == attempts_.size()
           && std::all_of(attempts_.begin(), attempts_.end(),
                          [](const Attempt& a) { return a.has_failed; });
}

std::string DialPlan::describe() const
{
    std::string text;
    const char* separator = "";
    for (std::size_t i = 0; i < begun_; ++i) {
        if (attempts_[i].has_failed)
            continue;
        text += std::exchange(separator, " and ") + to_text(attempts_[i].endpoint);
    }
    if (const auto failed = describe_failed(); !failed.empty())
        text += fmt::format("; {}", failed);
    return text;
}

std::string DialPlan::describe_won(std::size_t attempt) const
{
    const auto failed = describe_failed();
    return fmt::format("to {}{}{}", to_text(attempts_.at(attempt).endpoint),
                       failed.empty() ? "" : "; ", failed);
}

std::string DialPlan::describe_failed() const
{
    std::string text;
    for (const auto& a : attempts_)
        if (a.has_failed)
            text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", to_text(a.endpoint),
                                a.why.empty() ? a.ec.message() : a.why);
    return text;
}

Failure DialPlan::failure(std::string endpoint) const
{
    FailureDetails details{.attempted = "connect", .endpoint = std::move(endpoint)};
    if (attempts_.size() == 1) {
        details.cause = attempts_[0].ec;
        details.explanation = attempts_[0].why;
    } else {
        details.explanation = describe_failed();
    }
    const auto refused = std::find_if(attempts_.begin(), attempts_.end(),
                                      [](const Attempt& a) { return is_without_resources(a.ec); });
    if (refused == attempts_.end())
        return {Error::connect_failed, std::move(details)};
    details.cause = refused->ec;
    return {Error::no_resources, std::move(details)};
}

// --- sockets

namespace {

/// Draws the faults of a connect. Returns connection_refused if it fails; sets the delay of its end
/// otherwise.
error_code draw_refusal(Context ctx, ConnectionFaults& faults, Duration& delay)
{
    const auto operation = faults.next(ConnectionFaults::Kind::connect);
    delay = operation.delay;
    if (!operation.fails)
        return {};
    faults.happened(ctx, "a refusal at", ConnectionFaults::Kind::connect);
    return asio::error::connection_refused;
}

} // namespace

/// The sockets that are connecting. The dialling coroutine and each pending connect hold it; a
/// connect may end after the coroutine.
class Dialer::Attempts : public std::enable_shared_from_this<Dialer::Attempts> {
public:
    struct Attempt {
        tcp::socket socket;
        TimePoint began;
        Duration delay{}; // of its end, by Faults
    };
    struct End {
        std::size_t attempt;
        Refused refused; // its code is empty if the attempt connected
    };

    void begin(Context ctx, const Endpoint& endpoint, const SocketSetup& setup)
    {
        const auto attempt = all.size();
        all.push_back({tcp::socket{ctx.executor()}, ctx.now()});
        auto& socket = all.back().socket;
        Refused refused;
        open_socket(socket, endpoint.protocol(), refused.ec);
        if (!refused.ec)
            refused = set_up_tcp(socket.native_handle(), setup, endpoint).value_or(Refused{});
        if (!refused.ec && setup.faults)
            refused.ec = draw_refusal(ctx, *setup.faults, all.back().delay);
        if (refused.ec)
            return end({attempt, std::move(refused)});
        socket.async_connect(endpoint, [self = shared_from_this(), attempt](error_code ec) {
            self->end({attempt, {.ec = ec}});
        });
    }
    void close() noexcept
    {
        error_code ec;
        for (auto& attempt : all)
            attempt.socket.close(ec);
        progress.set();
    }

    std::deque<Attempt> all; // sidecar side; in the plan's order
    std::vector<End> ends;   // sidecar side; in order of arrival
    LoopEvent progress;      // sidecar side

private:
    void end(End one)
    {
        ends.push_back(std::move(one));
        progress.set();
    }
};

UnixAddress unix_address(std::string path)
{
    if (path.starts_with('@'))
        path.front() = '\0';
    return UnixAddress{path};
}

namespace {

/// The pause before a connect is retried while the backlog is full; it doubles up to
/// max_backlog_wait.
constexpr auto first_backlog_wait = std::chrono::milliseconds{5};
constexpr auto max_backlog_wait = std::chrono::milliseconds{100};

constexpr auto met_itself = "nobody listens there, and the connection met itself";

error_code connect_at_once(int socket, const UnixAddress& address)
{
    while (::connect(socket, address.data(), static_cast<socklen_t>(address.size())) != 0)
        if (errno != EINTR)
            return {errno, boost::system::system_category()};
    return {};
}

Failure unix_failure(const std::string& path, std::string endpoint, error_code ec, std::string why)
{
    FailureDetails details{.attempted = "connect", .endpoint = std::move(endpoint)};
    details.cause = ec;
    details.explanation = fmt::format("the socket {}", http::escape(path));
    if (!why.empty())
        details.explanation += ", " + why;
    return {is_without_resources(ec) ? Error::no_resources : Error::connect_failed,
            std::move(details)};
}

} // namespace

bool is_connected_to_itself(const tcp::socket& socket)
{
    error_code ec;
    const auto local = socket.local_endpoint(ec);
    return !ec && local == socket.remote_endpoint(ec) && !ec;
}

Task<std::shared_ptr<Stream>> Dialer::connect(Context ctx, std::string host, std::uint16_t port,
                                              SocketSetup setup, std::string endpoint)
{
    const auto addresses = co_await ctx.resolve(std::move(host));
    DialPlan plan{alternate_families(addresses, port), ctx.now()};
    const auto attempts = std::make_shared<Attempts>();
    attempts_ = attempts;
    struct CloseLosers {
        Attempts& attempts;
        ~CloseLosers() { attempts.close(); }
    } close_losers{*attempts};
    for (;;) {
        if (is_aborted_)
            throw boost::system::system_error{asio::error::operation_aborted};
        std::optional<std::size_t> winner;
        for (auto& [i, refused] : std::exchange(attempts->ends, {})) {
            auto& [socket, began, delay] = attempts->all[i];
            if (!refused.ec && is_connected_to_itself(socket))
                refused = {asio::error::connection_refused, met_itself};
            if (refused.ec) {
                ctx.tried(to_text(plan.endpoint(i)),
                          refused.what.empty() ? refused.ec.message() : refused.what,
                          ctx.now() - began);
                plan.failed(i, refused.ec, ctx.now(), std::move(refused.what));
            } else if (!winner) {
                winner = i;
            }
        }
        if (winner) {
            for (std::size_t i = 0; i < attempts->all.size(); ++i)
                if (!plan.has_failed(i))
                    ctx.tried(to_text(plan.endpoint(i)),
                              i == *winner ? "" : "another address was faster",
                              ctx.now() - attempts->all[i].began);
            attempts_.reset();
            ctx.phase(Phase::connecting, plan.describe_won(*winner));
            auto& won = attempts->all[*winner];
            auto stream = std::make_shared<SocketStream>(std::move(won.socket));
            if (setup.faults)
                co_return co_await add_faults(ctx, std::move(stream), setup.faults, won.delay);
            co_return stream;
        }
        if (plan.is_over())
            throw Exception{plan.failure(std::move(endpoint))};
        while (const auto due = plan.next(ctx.now()))
            attempts->begin(ctx, plan.endpoint(*due), setup);
        ctx.phase(Phase::connecting, plan.describe());
        (void)co_await ctx.wait(attempts->progress, plan.next_at());
    }
}

/// Needs no pending operation: a connect to a Unix-domain socket succeeds or fails at once.
Task<std::shared_ptr<Stream>> Dialer::connect_unix(Context ctx, std::string path, SocketSetup setup,
                                                   std::string endpoint)
{
    const auto shown = fmt::format("to unix:{}", http::escape(path));
    ctx.phase(Phase::connecting, shown);
    SocketStream::Socket socket{ctx.executor()};
    error_code ec;
    open_socket(socket, SocketStream::Socket::protocol_type{AF_UNIX, 0}, ec);
    if (ec)
        throw Exception{unix_failure(path, endpoint, ec, {})};
    socket.native_non_blocking(true);
    if (auto refused = set_up_unix(socket.native_handle(), setup))
        throw Exception{unix_failure(path, endpoint, {}, refused->what)};
    Duration delay{};
    if (setup.faults)
        if ((ec = draw_refusal(ctx, *setup.faults, delay)))
            throw Exception{unix_failure(path, endpoint, ec, {})};
    const auto address = unix_address(path);
    Duration pause = first_backlog_wait;
    while (!is_aborted_) {
        ec = connect_at_once(socket.native_handle(), address);
        if (!ec) {
            auto stream = std::make_shared<SocketStream>(std::move(socket));
            if (setup.faults)
                co_return co_await add_faults(ctx, std::move(stream), setup.faults, delay);
            co_return stream;
        }
        if (ec != asio::error::would_block)
            throw Exception{unix_failure(path, endpoint, ec, {})};
        ctx.phase(Phase::connecting, shown + ", whose backlog is full");
        (void)co_await ctx.wait(aborted_, deadline_after(ctx.now(), pause));
        pause = std::min<Duration>(2 * pause, max_backlog_wait);
    }
    throw boost::system::system_error{asio::error::operation_aborted};
}

/// Ends the connect late, by `delay`.
Task<std::shared_ptr<Stream>> Dialer::add_faults(Context ctx, std::shared_ptr<SocketStream> stream,
                                                 std::shared_ptr<ConnectionFaults> faults,
                                                 Duration delay)
{
    const auto until = deadline_after(ctx.now(), delay);
    while (!is_aborted_ && ctx.now() < until)
        (void)co_await ctx.wait(aborted_, until);
    if (is_aborted_)
        throw boost::system::system_error{asio::error::operation_aborted};
    faults->connected();
    co_return std::make_shared<FaultyStream>(ctx, std::move(stream), std::move(faults));
}

void Dialer::abort() noexcept
{
    is_aborted_ = true;
    aborted_.set();
    if (attempts_)
        attempts_->close();
}

} // namespace sidecar::stream
