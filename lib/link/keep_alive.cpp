#include "link/keep_alive.hpp"

#include "base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sidecar::detail {
namespace {

/// Turns of the loop between a timer and the judgement. In the first the system is asked which
/// sockets can be read, in the second who waited for that runs.
constexpr unsigned turns_to_read = 3;

/// A timer that fires later than this says that the thread was held, or the process stopped. What has
/// come meanwhile may be too much for a few turns, so it is judged when a timer is in time again;
/// or when this has been put off so many times, because a loop that is always late judges too.
constexpr Duration late = std::chrono::milliseconds{50};
constexpr unsigned most_put_off = 40;

} // namespace

KeepAlive::KeepAlive(EventLoop& loop, KeepAliveLink& link, const Liveness& options, bool can_ping)
    : loop_{loop}, link_{link}, monitor_{options, can_ping || options.heartbeat}
{
    if (options.heartbeat)
        heartbeats_ = std::make_unique<Heartbeats>(*options.heartbeat, loop.journal(),
                                                   [this] { answered(); });
}

void KeepAlive::up()
{
    const auto now = loop_.now();
    ++generation_;
    signs_.up.note(now);
    counts_.is_up.store(true);
    question_.is_unanswered = false;
    put_off_count_ = 0;
    monitor_.up(now);
    due_ = now;
    if (!monitor_.is_off())
        look(); // which tells when the next is due
}

void KeepAlive::down() noexcept
{
    ++generation_;
    counts_.is_up.store(false);
    timer_.cancel();
}

void KeepAlive::arm(TimePoint when)
{
    due_ = when;
    timer_ = loop_.timers().at(when, [this] { look_after(turns_to_read); });
}

void KeepAlive::look_soon()
{
    timer_.cancel();
    due_ = loop_.now();
    look_after(0);
}

void KeepAlive::look_after(unsigned turns)
{
    loop_.post([this, turns, generation = generation_, link = link_.keep()] {
        if (generation != generation_)
            return;
        if (turns != 0)
            look_after(turns - 1);
        else
            look();
    });
}

bool KeepAlive::puts_off(TimePoint now)
{
    if (now - due_ <= late || put_off_count_ == most_put_off) {
        put_off_count_ = 0;
        return false;
    }
    ++put_off_count_;
    arm(deadline_after(now, late));
    return true;
}

void KeepAlive::look()
{
    const auto now = loop_.now();
    if (puts_off(now))
        return;
    const LivenessMonitor::Signs signs{.heard_at = std::max(signs_.heard.at(), signs_.data.at()),
                                       .data_at = signs_.data.at(),
                                       .resumed_at = signs_.resumed.at(),
                                       .is_paused = link_.is_reading_paused(),
                                       .written = link_.written()};
    for (auto verdict = monitor_.look(signs, now);; verdict = monitor_.look(signs, now)) {
        if (verdict.what == LivenessMonitor::What::wait)
            return arm(verdict.next_look);
        if (!act(verdict))
            return;
    }
}

/// False: the link is dropped.
bool KeepAlive::act(const LivenessMonitor::Verdict& verdict)
{
    using What = LivenessMonitor::What;
    switch (verdict.what) {
    case What::wait: break;
    case What::ask:
        counts_.pings.fetch_add(1, std::memory_order_relaxed);
        question_ = {question_.number + 1, loop_.now(), true};
        link_.ask_peer();
        break;
    case What::tell_stale:
    case What::drop_stale: link_.tell_data(Event::Kind::stale, verdict.silence); break;
    case What::tell_fresh: link_.tell_data(Event::Kind::fresh, verdict.silence); break;
    case What::drop_dead: break;
    }
    if (verdict.what != What::drop_dead && verdict.what != What::drop_stale)
        return true;
    counts_.drops.fetch_add(1, std::memory_order_relaxed);
    auto why = explain(verdict);
    down();
    link_.drop(std::move(why));
    return false;
}

FailureDetails KeepAlive::explain(const LivenessMonitor::Verdict& verdict)
{
    FailureDetails details{.attempted = "hear from the peer"};
    if (verdict.what == LivenessMonitor::What::drop_stale)
        details.explanation = fmt::format("no data for {}", readable(verdict.silence));
    else
        details.explanation = fmt::format(
            "nothing came for {}, {}", readable(verdict.silence),
            verdict.was_asked ? "and it was asked" : "and it takes nothing, not even the question");
    return details;
}

// --- questions and answers

KeepAlive::Payload KeepAlive::ping_payload() const noexcept
{
    Payload payload;
    std::memcpy(payload.data(), &question_.number, payload.size());
    return payload;
}

void KeepAlive::asked_written()
{
    const auto now = loop_.now();
    monitor_.asked_written(now);
    if (question_.is_unanswered)
        question_.from = now;
    if (counts_.is_up.load() && !monitor_.is_off())
        look_soon(); // the deadline counts from now
}

void KeepAlive::ponged(std::span<const std::byte> payload)
{
    const auto expected = ping_payload();
    if (std::equal(payload.begin(), payload.end(), expected.begin(), expected.end()))
        answered();
}

void KeepAlive::answered()
{
    if (!std::exchange(question_.is_unanswered, false))
        return;
    if (link_.is_reading_paused() || signs_.resumed.at() >= question_.from)
        return; // it has waited for us, we do not know how long
    std::lock_guard lock{mutex_};
    round_trips_.add(loop_.now() - question_.from);
}

std::optional<Duration> KeepAlive::data_age() const noexcept
{
    if (!counts_.is_up.load())
        return std::nullopt;
    const auto since = std::max(signs_.up.at(), signs_.data.at());
    return std::max(loop_.now() - since, Duration{});
}

void KeepAlive::add_round_trips(LatencyHistogram& to) const
{
    std::lock_guard lock{mutex_};
    to.add(round_trips_);
}

} // namespace sidecar::detail
