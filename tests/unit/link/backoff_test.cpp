// When a link tries again: no thread, no clock.
#include "link/backoff.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

namespace backoff_test {

using namespace sidecar;
using namespace std::chrono_literals;
using detail::Backoff;

const Failure reset{Error::disconnected};

Failure cut_off_in_handshake() { return {Error::tls_failed, {.cause = boost::asio::error::eof}}; }

Failure with_status(std::uint16_t status)
{
    return {Error::handshake_refused, {.http_status = status}};
}
Failure with_close(std::uint16_t code) { return {Error::closed_by_peer, {.close_code = code}}; }

/// Draws the latest moment of each window, so that the windows can be seen.
Reconnect widest()
{
    return {
        .window = 1s, .max_window = 8s, .stable_after = 10s, .random = [] { return UINT64_MAX; }};
}

TimePoint at(Duration since_start) { return TimePoint{since_start}; }

TEST_CASE("back-off: the window doubles up to its cap, and the wait is drawn from all of it")
{
    Backoff backoff{widest(), 1};
    TimePoint now{};
    std::vector<Duration> waits;
    for (int i = 0; i < 6; ++i) {
        CHECK(backoff.attempt() == static_cast<std::uint32_t>(i + 1));
        waits.push_back(*backoff.next(reset, now) - now);
        now += 1s;
    }
    CHECK(waits == std::vector<Duration>{1s, 2s, 4s, 8s, 8s, 8s});
    auto least = widest();
    least.random = [] { return std::uint64_t{0}; };
    Backoff from_zero{least, 1};
    for (int i = 0; i < 5; ++i)
        CHECK(*from_zero.next(reset, now) == now);
}

TEST_CASE("back-off: it begins anew only after a connection that was up for long enough")
{
    Backoff backoff{widest(), 1};
    const auto wait = [&](TimePoint now) { return *backoff.next(reset, now) - now; };
    CHECK(wait(at(0s)) == 1s);
    CHECK(wait(at(1s)) == 2s);
    backoff.up(at(3s)); // accepted and thrown out
    CHECK(wait(at(12s)) == 4s);
    CHECK(backoff.attempt() == 4);
    backoff.up(at(20s));
    CHECK(wait(at(30s)) == 1s);
    CHECK(backoff.attempt() == 2);
    CHECK(wait(at(31s)) == 2s); // the good time counts once
}

TEST_CASE("back-off: attempts and the time of an outage are limited")
{
    auto options = widest();
    options.max_attempts = 2;
    Backoff attempts{options, 1};
    CHECK(attempts.next(reset, at(0s)));
    CHECK(attempts.next(reset, at(1s)));
    CHECK_FALSE(attempts.next(reset, at(2s)));
    attempts.up(at(2s));
    CHECK(attempts.next(reset, at(60s))); // another outage

    options = widest();
    options.max_outage = 5s;
    Backoff outage{options, 1};
    CHECK(outage.next(reset, at(0s)));
    CHECK(outage.next(reset, at(3s)) == at(5s));
    CHECK_FALSE(outage.next(reset, at(4s))); // the next one would come too late
    CHECK_FALSE(outage.next(reset, at(5s)));
}

TEST_CASE("back-off: what cannot heal ends it at once, unless the predicate says otherwise")
{
    struct Row {
        Failure why;
        bool heals;
    };
    const std::vector<Row> rows{
        {Error::disconnected, true},
        {Error::connect_failed, true},
        {Error::lookup_failed, true},
        {Error::timed_out, true},
        {Error::closed_by_peer, true},
        {Error::protocol_violation, true},
        {Error::unresponsive, true},
        {Error::callback_failed, true},
        {Error::bad_address, false},
        {Error::bad_options, false},
        {Error::tls_failed, true},
        {{Error::tls_failed, {.is_passing = false}}, false},
        {{Error::bad_options, {.is_passing = true}}, true},
        {Error::link_closed, false},
        {Error::login_refused, false},
        {cut_off_in_handshake(), true},
        {with_status(401), false},
        {with_status(403), false},
        {with_status(404), false},
        {with_status(407), false},
        {with_status(426), false},
        {with_status(408), true},
        {with_status(425), true},
        {with_status(429), true},
        {with_status(500), true},
        {with_status(503), true},
        {with_status(302), true},
        {Failure{Error::handshake_refused}, true},
    };
    for (const auto& row : rows) {
        CAPTURE(row.why.message());
        CAPTURE(row.why.http_status());
        CHECK(is_retryable(row.why) == row.heals);
        Backoff backoff{widest(), 1};
        CHECK(backoff.next(row.why, at(0s)).has_value() == row.heals);
    }
    auto options = widest();
    options.retry_if = [](const Failure& why) { return why.http_status() == 401; };
    Backoff asks{options, 1};
    CHECK(asks.next(with_status(401), at(0s)));
    CHECK_FALSE(asks.next(reset, at(0s)));
}

TEST_CASE("back-off: a server that restarts, is overloaded or names a time is given longer")
{
    for (const std::uint16_t code : {1012, 1013}) {
        auto options = widest();
        options.max_window = 30s;
        Backoff latest{options, 1};
        CHECK(latest.next(with_close(code), at(0s)) == at(30s)); // 5 s, and a window of 25 s
        options.random = [] { return std::uint64_t{0}; };
        Backoff soonest{options, 1};
        CHECK(soonest.next(with_close(code), at(0s)) == at(5s));
    }
    auto short_options = widest();
    short_options.window = 100ms;
    short_options.max_window = 2400ms;
    Backoff bounded{short_options, 1};
    CHECK(bounded.next(with_close(1012), at(0s)) == at(2400ms)); // and not later
    short_options.random = [] { return std::uint64_t{0}; };
    Backoff earliest{short_options, 1};
    CHECK(earliest.next(with_close(1013), at(0s)) == at(400ms));
    Backoff other{widest(), 1};
    CHECK(other.next(with_close(1001), at(0s)) == at(1s));
    Backoff told{widest(), 1};
    const Failure busy{Error::handshake_refused, {.http_status = 503, .retry_after = 120s}};
    CHECK(told.next(busy, at(0s)) == at(121s));
}

TEST_CASE("back-off: times that are near the end of the clock overflow nothing")
{
    auto options = widest();
    options.window = options.max_window = Duration::max();
    options.busy_delay = Duration::max();
    Backoff backoff{options, 1};
    CHECK(backoff.next(with_close(1012), at(1s)) == TimePoint::max());
    CHECK(backoff.next(reset, at(2s)) == TimePoint::max());
}

TEST_CASE("back-off: 200 links that lose their server at once come back spread over the window")
{
    constexpr int links = 200, parts = 10;
    Reconnect options{.window = 10s, .max_window = 10s};
    std::array<int, parts> per_part{};
    std::vector<TimePoint> times;
    for (int i = 0; i < links; ++i) {
        Backoff backoff{options,
                        detail::make_seed(LinkId{0}, nullptr)}; // 200 feeds, each its first link
        const auto when = *backoff.next(reset, at(0s));
        CHECK(when <= at(10s));
        times.push_back(when);
        ++per_part[std::min<std::size_t>(
            static_cast<std::size_t>(when.time_since_epoch() / (10s / parts)), parts - 1)];
    }
    // 20 are expected in each tenth; that one gets none or 50 of them has a chance below 1e-8.
    for (const auto count : per_part) {
        CHECK(count > 0);
        CHECK(count < 50);
    }
    std::sort(times.begin(), times.end());
    CHECK(std::unique(times.begin(), times.end()) == times.end());
}

TEST_CASE("back-off: the same seed gives the same times, and a generator can be brought")
{
    Reconnect options{};
    Backoff a{options, 7}, b{options, 7}, c{options, 8};
    options.random = std::mt19937_64{42};
    Backoff mine{options, 7}, mine_again{options, 9};
    bool differs = false;
    for (int i = 0; i < 10; ++i) {
        const auto when = a.next(reset, at(0s));
        CHECK(when == b.next(reset, at(0s)));
        differs |= when != c.next(reset, at(0s));
        CHECK(mine.next(reset, at(0s)) == mine_again.next(reset, at(0s)));
    }
    CHECK(differs);
    CHECK(detail::make_seed(LinkId{0}, nullptr) != detail::make_seed(LinkId{0}, nullptr));
}

TEST_CASE("back-off: options that make no sense are refused by name")
{
    struct Row {
        Reconnect options;
        std::string named;
    };
    for (const auto& [options, named] :
         std::vector<Row>{{{.window = 0s}, "window"},
                          {{.window = 2s, .max_window = 1s}, "max_window"},
                          {{.stable_after = -1s}, "stable_after"},
                          {{.busy_delay = -1s}, "busy_delay"},
                          {{.max_outage = 0s}, "max_outage"},
                          {{.connect_timeout = 0s}, "connect_timeout"}}) {
        const auto checked = detail::validate_reconnect(options);
        REQUIRE_FALSE(checked);
        CHECK(checked.error() == Error::bad_options);
        CHECK(checked.error().explanation().find(named) != std::string::npos);
    }
    CHECK(detail::validate_reconnect({}));
}

TEST_CASE(
    "back-off: a message above the limit ends the link for good, since no attempt changes that")
{
    Backoff backoff{widest(), 1};
    CHECK_FALSE(is_retryable(Failure{Error::too_big}));
    CHECK_FALSE(backoff.next(Failure{Error::too_big}, at(0s)));
}

} // namespace backoff_test
