#include "link/keep_alive.hpp"

#include "base/failures.hpp"
#include "base/text.hpp"
#include "link/link.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace sidecar::detail {
namespace {

/// Loop iterations between a timer and its judgement. In the first the system reports the readable
/// sockets, in the second their readers run.
constexpr unsigned turns_to_read = 3;

/// A timer that is later than this shows that the thread was held or the process was stopped. A few
/// iterations may not read all that arrived meanwhile, so the judgement waits for a timer that is
/// in time. After so many late timers it judges nevertheless: a loop may always be late.
constexpr Duration late = std::chrono::milliseconds{50};
constexpr unsigned max_put_off = 40;

/// The shortest wait between two looks, whatever the options.
constexpr Duration shortest_step = std::chrono::milliseconds{1};

/// A larger message is no answer to a heartbeat.
constexpr std::size_t max_answer_bytes = 64u << 10;

FailureDetails explain(const LivenessMonitor::Verdict& verdict)
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

} // namespace

// --- when to ping, and when to drop

LivenessMonitor::LivenessMonitor(const Liveness& pings, Duration idle_timeout,
                                 OnIdle on_idle) noexcept
    : ping_interval_{pings.ping_interval},
      ping_timeout_{pings.ping_timeout},
      idle_timeout_{idle_timeout},
      drops_stale_{on_idle == OnIdle::drop}
{
}

void LivenessMonitor::up(TimePoint now) noexcept
{
    up_at_ = now;
    question_ = Question::none;
    is_stale_ = false;
}

void LivenessMonitor::asked_written(TimePoint now) noexcept
{
    if (question_ != Question::unwritten)
        return;
    question_ = Question::written;
    deadline_from_ = now;
}

/// Silence begins at the earliest with the connection or with the end of the last pause.
TimePoint LivenessMonitor::begin_of(TimePoint last, const Signs& signs) const noexcept
{
    return std::max({up_at_, last, signs.resumed_at});
}

LivenessMonitor::Verdict LivenessMonitor::look(const Signs& signs, TimePoint now) noexcept
{
    if (signs.is_paused) {
        const auto shortest =
            std::min(asks() ? std::min(ping_interval_, ping_timeout_) : Duration::max(),
                     watches_data() ? idle_timeout_ : Duration::max());
        return {.next_look = deadline_after(now, std::max(shortest, shortest_step))};
    }
    const auto data = look_for_data(signs, now);
    if (data.what != What::wait)
        return data;
    auto life = look_for_life(signs, now);
    life.next_look = std::min(life.next_look, data.next_look);
    return life;
}

LivenessMonitor::Verdict LivenessMonitor::look_for_data(const Signs& signs, TimePoint now) noexcept
{
    if (!watches_data())
        return {};
    if (!signs.is_announced)
        return {.next_look = deadline_after(now, std::max(idle_timeout_, shortest_step))};
    if (is_stale_) {
        if (signs.data_at == stale_data_at_)
            return {};
        is_stale_ = false;
        return {.what = What::report_fresh,
                .silence = signs.data_at - std::max(up_at_, stale_data_at_)};
    }
    const auto since = begin_of(signs.data_at, signs);
    const auto due = deadline_after(since, idle_timeout_);
    if (now < due)
        return {.next_look = due};
    stale_data_at_ = signs.data_at;
    is_stale_ = true;
    return {.what = drops_stale_ ? What::drop_stale : What::report_stale, .silence = now - since};
}

LivenessMonitor::Verdict LivenessMonitor::look_for_life(const Signs& signs, TimePoint now) noexcept
{
    if (!asks())
        return {};
    const auto alive_at = begin_of(signs.heard_at, signs);
    if (question_ == Question::written && alive_at >= asked_at_)
        question_ = Question::none;
    if (question_ == Question::none) {
        const auto due = deadline_after(alive_at, ping_interval_);
        if (now < due)
            return {.next_look = due};
        question_ = Question::unwritten;
        asked_at_ = deadline_from_ = now;
        written_ = signs.written;
        return {.what = What::ask, .silence = now - alive_at};
    }
    if (question_ == Question::unwritten) {
        // The ping waits behind other bytes. While the system accepts those, the peer reads.
        if (signs.written != written_)
            deadline_from_ = now;
        written_ = signs.written;
        deadline_from_ = std::max(deadline_from_, alive_at);
    }
    const auto deadline = deadline_after(deadline_from_, ping_timeout_);
    // Written: an answer begins an interval, which may end before the deadline. Unwritten: the
    // deadline counts from the last look that saw progress.
    const auto step = question_ == Question::written ? ping_interval_ : ping_timeout_ / 8;
    if (now < deadline)
        return {.next_look =
                    std::min(deadline, deadline_after(now, std::max(step, shortest_step)))};
    return {.what = What::drop_dead,
            .silence = now - alive_at,
            .was_asked = question_ == Question::written};
}

// --- the driver

KeepAlive::KeepAlive(EventLoop& loop, LinkImpl& link, const LinkOptions& options,
                     const LinkConfig& config)
    : loop_{loop},
      link_{link},
      monitor_{pings_of(options, config), options.idle_timeout, options.on_idle},
      heartbeat_{options.heartbeat}
{
}

void KeepAlive::up()
{
    const auto now = loop_.now();
    ++generation_;
    up_at_ = now;
    is_unanswered_ = false;
    put_off_count_ = 0;
    monitor_.up(now);
    due_ = now;
    if (!monitor_.is_off())
        look();
}

void KeepAlive::down() noexcept
{
    ++generation_;
    up_at_ = TimePoint::min();
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
    loop_.post([this, turns, generation = generation_, link = link_.shared_from_this()] {
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
    if (now - due_ <= late || put_off_count_ == max_put_off) {
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
    const LivenessMonitor::Signs signs{.heard_at = std::max(heard_at_, data_at_.load()),
                                       .data_at = data_at_,
                                       .resumed_at = resumed_at_,
                                       .is_paused = link_.sink().is_paused(),
                                       .is_announced = link_.link_state().is_announced(),
                                       .written = link_.outbox().progress()};
    for (auto verdict = monitor_.look(signs, now);; verdict = monitor_.look(signs, now)) {
        if (verdict.what == LivenessMonitor::What::wait)
            return arm(verdict.next_look);
        if (!act(verdict))
            return;
    }
}

/// Returns false if it dropped the link.
bool KeepAlive::act(const LivenessMonitor::Verdict& verdict)
{
    using What = LivenessMonitor::What;
    switch (verdict.what) {
    case What::wait: break;
    case What::ask:
        pings_.fetch_add(1, std::memory_order_relaxed);
        asked_at_ = loop_.now();
        is_unanswered_ = true;
        link_.ask_peer();
        break;
    case What::report_stale:
    case What::drop_stale:
    case What::report_fresh:
        link_.push_event(
            {.kind = verdict.what == What::report_fresh ? Event::Kind::fresh : Event::Kind::stale,
             .link = link_.id(),
             .failure = {},
             .data_age = verdict.silence});
        break;
    case What::drop_dead: break;
    }
    if (verdict.what != What::drop_dead && verdict.what != What::drop_stale)
        return true;
    drops_.fetch_add(1, std::memory_order_relaxed);
    auto why = explain(verdict);
    down();
    link_.drop(std::move(why));
    return false;
}

// --- pings and answers

KeepAlive::Payload KeepAlive::ping_payload() const noexcept
{
    Payload payload;
    const auto number = pings();
    std::memcpy(payload.data(), &number, payload.size());
    return payload;
}

void KeepAlive::asked_written()
{
    const auto now = loop_.now();
    monitor_.asked_written(now);
    if (is_unanswered_)
        asked_at_ = now;
    if (up_at_.load() != TimePoint::min() && !monitor_.is_off())
        look_soon(); // the deadline counts from now
}

void KeepAlive::ponged(std::span<const std::byte> payload)
{
    const auto expected = ping_payload();
    if (std::equal(payload.begin(), payload.end(), expected.begin(), expected.end()))
        answered();
}

/// Takes an answer out of the stream, unless the application wants it too.
MessageWatcher::Verdict KeepAlive::offer(const MessageView& message)
{
    if (!may_take(message.size()))
        return Verdict::pass;
    try {
        if (!heartbeat_->is_answer(message))
            return Verdict::pass;
    } catch (...) {
        loop_.journal().record(to_failure(std::current_exception(), Error::callback_failed,
                                          "recognise the answer to a heartbeat", {}));
        return Verdict::pass;
    }
    on_bytes(); // for a transport that does not call Sink::on_bytes()
    answered();
    return heartbeat_->keeps_answers ? Verdict::pass : Verdict::answer;
}

bool KeepAlive::may_take(std::size_t payload_bytes) const
{
    return heartbeat_ && heartbeat_->is_answer && payload_bytes <= max_answer_bytes;
}

void KeepAlive::answered()
{
    if (!std::exchange(is_unanswered_, false))
        return;
    if (link_.sink().is_paused() || resumed_at_ >= asked_at_)
        return; // the answer waited for us, for an unknown time
    std::lock_guard lock{mutex_};
    round_trips_.add(loop_.now() - asked_at_);
}

std::optional<Duration> KeepAlive::data_age() const noexcept
{
    const auto up_at = up_at_.load();
    if (up_at == TimePoint::min())
        return std::nullopt;
    const auto since = std::max(up_at, data_at_.load());
    return std::max(loop_.now() - since, Duration{});
}

void KeepAlive::add_round_trips(LatencyHistogram& to) const
{
    std::lock_guard lock{mutex_};
    to.add(round_trips_);
}

Liveness pings_of(const LinkOptions& options, const LinkConfig& config)
{
    if (!config.can_ping() && !options.heartbeat)
        return {.ping_interval = {}};
    constexpr Liveness usual;
    auto pings = config.default_liveness();
    if (pings.ping_interval == Duration{} && options.heartbeat)
        pings.ping_interval = usual.ping_interval;
    if (pings.ping_timeout == Duration{})
        pings.ping_timeout = usual.ping_timeout;
    return {.ping_interval = options.ping_interval.value_or(pings.ping_interval),
            .ping_timeout = options.ping_timeout.value_or(pings.ping_timeout)};
}

Result<void> validate_liveness(const LinkOptions& options, const LinkConfig& config)
{
    const auto zero = Duration{};
    const auto pings = pings_of(options, config);
    if (pings.ping_interval < zero || options.ping_interval.value_or(zero) < zero)
        return bad_options("ping_interval must not be negative");
    if (pings.ping_interval > zero && pings.ping_timeout <= zero)
        return bad_options("ping_timeout must be positive, or the ping_interval zero");
    if (pings.ping_interval == zero && options.ping_interval.value_or(zero) > zero)
        return bad_options("ping_interval: this transport has no ping; set a heartbeat");
    if (pings.ping_interval == zero && options.heartbeat)
        return bad_options("heartbeat: with a ping_interval of zero it is never sent");
    if (options.ping_timeout.value_or(zero) < zero || options.idle_timeout < zero)
        return bad_options("ping_timeout and idle_timeout must not be negative");
    if (options.on_idle == OnIdle::drop && options.idle_timeout == zero)
        return bad_options("on_idle: without an idle_timeout the link is never dropped");
    return {};
}

} // namespace sidecar::detail
