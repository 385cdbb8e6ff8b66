#include "loop.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace sidecar::conformance {

namespace asio = boost::asio;

namespace {

/// A real loop looks at what the peer's threads did at least so often.
constexpr Duration glance = std::chrono::milliseconds{1};

/// Counts the handlers of one operation. As the library's own executor, it fits into an
/// any_io_executor without an allocation.
template <class Inner>
class CountingExecutor {
public:
    CountingExecutor(Inner inner, Operation& operation) noexcept
        : inner_{std::move(inner)}, operation_{&operation}
    {
    }
    template <class F>
    void execute(F&& function) const
    {
        inner_.execute(
            [operation = operation_, f = std::decay_t<F>(std::forward<F>(function))]() mutable {
                operation->resumed();
                std::move(f)();
            });
    }
    template <class Property>
        requires asio::can_query_v<const Inner&, Property>
    [[nodiscard]] auto query(const Property& property) const -> decltype(auto)
    {
        return asio::query(inner_, property);
    }
    template <class Property>
        requires asio::can_require_v<const Inner&, Property>
    [[nodiscard]] auto require(const Property& property) const
    {
        return CountingExecutor<std::decay_t<decltype(asio::require(inner_, property))>>{
            asio::require(inner_, property), *operation_};
    }
    template <class Property>
        requires asio::can_prefer_v<const Inner&, Property>
    [[nodiscard]] auto prefer(const Property& property) const
    {
        return CountingExecutor<std::decay_t<decltype(asio::prefer(inner_, property))>>{
            asio::prefer(inner_, property), *operation_};
    }
    friend bool operator==(const CountingExecutor& a, const CountingExecutor& b) noexcept
    {
        return a.inner_ == b.inner_ && a.operation_ == b.operation_;
    }

private:
    Inner inner_;
    Operation* operation_;
};

/// Blocks for a name: a test's names are literals or in the hosts file.
std::vector<asio::ip::address> look_up(const std::string& host)
{
    error_code not_literal;
    const auto literal = asio::ip::make_address(host, not_literal);
    if (!not_literal)
        return {literal};
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (host.empty() || host.find('\0') != host.npos
        || ::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0)
        throw Exception{Failure{Error::lookup_failed, {.attempted = "resolve", .endpoint = host}}};
    std::vector<asio::ip::address> addresses;
    for (const auto* at = found; at; at = at->ai_next) {
        if (at->ai_family == AF_INET)
            addresses.emplace_back(asio::ip::address_v4{
                ntohl(reinterpret_cast<const sockaddr_in*>(at->ai_addr)->sin_addr.s_addr)});
        if (at->ai_family == AF_INET6) {
            asio::ip::address_v6::bytes_type bytes;
            const auto& from = reinterpret_cast<const sockaddr_in6*>(at->ai_addr)->sin6_addr;
            std::copy(std::begin(from.s6_addr), std::end(from.s6_addr), bytes.begin());
            addresses.emplace_back(asio::ip::address_v6{bytes});
        }
    }
    ::freeaddrinfo(found);
    return addresses;
}

} // namespace

// --- the loop

Loop::Loop(Progress& its_progress, bool is_virtual)
    : progress{its_progress}, is_virtual_{is_virtual}, work_{asio::make_work_guard(io_)}
{
}

TimePoint Loop::now() const noexcept
{
    return is_virtual_ ? virtual_now_ : std::chrono::steady_clock::now();
}

void Loop::ran()
{
    ++steps_;
    if (after_step)
        after_step();
}

bool Loop::fire_timer()
{
    if (timers_.empty() || timers_.begin()->first.first > now())
        return false;
    const auto callback = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    callback();
    ran();
    return true;
}

bool Loop::step(TimePoint until)
{
    if (progress.is_abandoned)
        throw Abandoned{};
    ++progress.turns;
    if (io_.stopped())
        io_.restart();
    if (io_.poll_one() != 0) {
        ran();
        return true;
    }
    if (fire_timer())
        return true;
    const auto next = timers_.empty() ? TimePoint::max() : timers_.begin()->first.first;
    if (is_virtual_) {
        if (next > until)
            return false;
        virtual_now_ = next;
        return fire_timer();
    }
    const auto present = now();
    if (present >= until)
        return false;
    const auto wait = std::min({glance, until - present, next - present});
    if (io_.run_one_for(std::max(wait, Duration{1})) != 0)
        ran();
    return true;
}

bool Loop::finish(TimePoint until)
{
    work_.reset();
    for (;;) {
        const bool may_go_on = step(until);
        if (io_.stopped() && timers_.empty())
            return true;
        if (!may_go_on)
            return false;
    }
}

Loop::TimerKey Loop::add_timer(TimePoint when, std::function<void()> callback)
{
    const TimerKey key{when, ++last_timer_};
    timers_.emplace(key, std::move(callback));
    return key;
}

// --- operations

asio::any_io_executor Operation::executor()
{
    return CountingExecutor<asio::io_context::executor_type>{loop_.io().get_executor(), *this};
}

void Operation::resumed() noexcept
{
    ++resumptions_;
    loop_.progress.operation = name_;
}

Task<> Operation::sleep_until(TimePoint when)
{
    LoopEvent never;
    while (co_await wait(never, when)) {
    }
}

Task<bool> Operation::wait(LoopEvent& event, TimePoint deadline)
{
    struct Waiting {
        Operation& operation;
        std::optional<Loop::TimerKey> timer{};
        ~Waiting()
        {
            --operation.context_waits_;
            if (timer)
                operation.loop_.remove_timer(*timer);
        }
    };
    bool is_late = false;
    ++context_waits_;
    Waiting waiting{*this};
    if (deadline != TimePoint::max())
        waiting.timer = loop_.add_timer(deadline, [&] {
            is_late = true;
            event.set();
        });
    co_await event.wait();
    co_return !is_late;
}

/// Suspends once, as the library's look-up may.
Task<std::vector<asio::ip::address>> Operation::resolve(std::string host)
{
    const auto found = std::make_shared<LoopEvent>();
    asio::post(loop_.io(), [found] { found->set(); });
    co_await found->wait();
    co_return look_up(host);
}

Task<> Operation::run(Call call, TimePoint deadline)
{
    struct Inside {
        Operation& operation;
        ~Inside()
        {
            operation.is_inside_ = false;
            operation.has_returned_ = true;
        }
    };
    is_inside_ = true;
    const Inside inside{*this};
    co_await call({*this, deadline});
}

void Operation::start(Call call, TimePoint deadline)
{
    is_running_ = true;
    has_returned_ = false;
    error_ = nullptr;
    resumptions_ = 0;
    waits_for_ = nullptr;
    asio::co_spawn(executor(), run(std::move(call), deadline),
                   asio::bind_cancellation_slot(cancellation_.slot(), [this](std::exception_ptr e) {
                       is_running_ = false;
                       error_ = std::move(e);
                   }));
}

std::string Operation::describe() const
{
    if (waits_for_)
        return fmt::format("{}() (\"{}\")", name_, waits_for_);
    return fmt::format("{}()", name_);
}

} // namespace sidecar::conformance
