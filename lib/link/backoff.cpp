#include "link/backoff.hpp"

#include "base/failures.hpp"

#include <sidecar/detail/random.hpp>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <random>

namespace sidecar {

bool is_retryable(const Failure& failure) noexcept
{
    if (const auto is_passing = failure.is_passing())
        return *is_passing;
    const auto status = failure.http_status();
    if (status >= 400 && status <= 499)
        return status == 408 || status == 425 || status == 429;
    for (const auto permanent :
         {Error::bad_address, Error::bad_options, Error::misuse, Error::forked, Error::link_closed,
          Error::too_big, Error::login_refused})
        if (failure == permanent)
            return false;
    return true;
}

namespace detail {
namespace {

Duration add(Duration a, Duration b) noexcept
{
    return a > Duration::max() - b ? Duration::max() : a + b;
}

Duration times(Duration duration, int factor) noexcept
{
    return duration > Duration::max() / factor ? Duration::max() : duration * factor;
}

/// RFC 6455, section 7.4.1, and the registry there: 1012 service restart, 1013 try again later.
bool is_busy(const Failure& why) noexcept
{
    return why.close_code() == 1012 || why.close_code() == 1013;
}

/// Calls a function of the application.
template <class Function>
auto ask(const char* name, const Function& function)
{
    try {
        return function();
    } catch (...) {
        throw Exception{thrown_by(name, std::current_exception(), Error::callback_failed,
                                  "decide about another attempt")};
    }
}

std::uint64_t process_entropy() noexcept
{
    try {
        std::random_device device;
        return std::uint64_t{device()} << 32 | device();
    } catch (const std::exception&) { // no such device: process id and time must do
        return static_cast<std::uint64_t>(
            std::chrono::system_clock::now().time_since_epoch().count());
    }
}

} // namespace

Backoff::Backoff(const Reconnect& options, std::uint64_t seed)
    : options_{options}, generator_{seed}, window_{options.window}
{
}

/// Draws evenly from zero to the window, both included.
Duration Backoff::draw(Duration window)
{
    __extension__ using Wide = unsigned __int128;
    const auto number =
        options_.random ? ask("the random function", options_.random) : next_random(generator_);
    const auto choices = static_cast<std::uint64_t>(window.count()) + 1;
    return Duration{static_cast<Duration::rep>(Wide{number} * choices >> 64)};
}

bool Backoff::is_worth_it(const Failure& why, TimePoint now) const
{
    if (options_.max_attempts != 0 && attempts_ >= options_.max_attempts)
        return false;
    if (began_ && options_.max_outage != Duration::max() && now - *began_ >= options_.max_outage)
        return false;
    return options_.retry_if ? ask("the retry_if function", [&] { return options_.retry_if(why); })
                             : is_retryable(why);
}

std::optional<TimePoint> Backoff::next(const Failure& why, TimePoint now)
{
    if (up_since_ && now - *up_since_ >= options_.stable_after) {
        window_ = options_.window;
        attempts_ = 0;
        began_.reset();
    }
    up_since_.reset();
    if (!began_)
        began_ = now;
    if (!is_worth_it(why, now))
        return std::nullopt;

    auto window = window_;
    Duration min{};
    if (is_busy(why)) {
        // Stays within max_window, which only a Retry-After may exceed
        min = std::min(options_.busy_delay, options_.max_window / 6);
        window =
            std::min(std::max(window, times(options_.busy_delay, 5)), options_.max_window - min);
    }
    if (why.retry_after())
        min = std::max<Duration>(min, *why.retry_after());
    const auto when = deadline_after(now, add(min, draw(window)));
    if (options_.max_outage != Duration::max() && when - *began_ > options_.max_outage)
        return std::nullopt;
    window_ = std::min(times(window_, 2), options_.max_window);
    ++attempts_;
    return when;
}

std::uint64_t make_seed(LinkId link, VirtualTime* time)
{
    if (time)
        return time->next_seed();
    static const std::uint64_t entropy = process_entropy();
    static std::atomic<std::uint64_t> links{0}; // each feed has a link 0
    auto state = entropy ^ static_cast<std::uint64_t>(::getpid()) << 32
                 ^ static_cast<std::uint64_t>(link) ^ links.fetch_add(1) << 16;
    return next_random(state);
}

Result<void> validate_reconnect(const Reconnect& options)
{
    const auto zero = Duration{};
    if (options.window <= zero)
        return bad_options("reconnect: the window must be positive");
    if (options.max_window < options.window)
        return bad_options("reconnect: max_window must not be below window");
    if (options.stable_after < zero || options.busy_delay < zero)
        return bad_options("reconnect: stable_after and busy_delay must not be negative");
    if (options.max_outage <= zero || options.connect_timeout <= zero)
        return bad_options("reconnect: max_outage and connect_timeout must be positive");
    return {};
}

} // namespace detail
} // namespace sidecar
