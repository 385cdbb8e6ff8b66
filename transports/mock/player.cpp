#include "player.hpp"

#include "state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

namespace sidecar::mock {

std::string quoted(std::string_view text)
{
    constexpr std::size_t max_shown = 60;
    std::string shown{text.substr(0, max_shown)};
    std::ranges::replace_if(
        shown, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '.');
    return text.size() <= max_shown ? fmt::format("\"{}\"", shown)
                                    : fmt::format("\"{}...\" ({} bytes)", shown, text.size());
}
std::string quoted(const MessageView& message)
{
    return (message.kind() == MessageKind::binary ? "binary " : "") + quoted(message.text());
}
std::string seconds(Duration duration)
{
    return fmt::format("{:g} s", std::chrono::duration<double>{duration}.count());
}

// --- what happens

TimePoint Player::connecting(MockConnection& connection, TimePoint began, TimePoint now)
{
    std::lock_guard lock{mutex_};
    begin(now);
    on_ = 0;
    (void)advance(connection, now); // a wait may be over
    if (is_free_)
        return now;
    if (!failure_ && !step())
        fail(nullptr, now, fmt::format("connect {} came", connection.number()));
    if (failure_)
        throw Exception{Failure{Error::script_failed,
                                {.attempted = "connect",
                                 .endpoint = "mock",
                                 .explanation = *failure_,
                                 .is_passing = false}}};
    const auto& present = *step();
    if (present.kind == Step::Kind::act && !present.act)
        return deadline_after(began_, present.time);
    if (present.kind == Step::Kind::refuse) {
        const auto why = present.failure;
        if (++done_ == present.count)
            next(now, now);
        throw Exception{why};
    }
    if (present.kind == Step::Kind::accept) {
        if (const auto due = deadline_after(began, present.time); due > now)
            return due;
        next(now, now);
    }
    began_ = std::max(began_, now);
    on_ = connection.number();
    return now;
}

void Player::received(MockConnection& connection, const MessageView& message)
{
    std::lock_guard lock{mutex_};
    const auto now = message.arrival();
    state_.add_to_trace(now, fmt::format("got {}", quoted(message)));
    if (!is_begun_)
        on_ = connection.number();
    begin(now);
    const auto is_ignored = [&](const Step* each) { return each->matches(message); };
    if (is_over() || on_ != connection.number())
        return; // it crossed an end of the connection
    try {
        if (std::ranges::any_of(ignored_, is_ignored))
            return;
    } catch (...) {
        return fail_with_exception(connection, now);
    }
    if (!step())
        return fail(&connection, now, fmt::format("{} came", quoted(message)));
    waiting_.push_back({now, message.kind(), std::string{message.text()}});
    (void)advance(connection, now);
}

void Player::closing(MockConnection& connection, std::uint16_t code, TimePoint now)
{
    std::lock_guard lock{mutex_};
    (void)advance(connection, now);
    if (is_over() || on_ != connection.number())
        return;
    const auto* const present = step();
    if (present && present->kind == Step::Kind::expect_close) {
        if (present->code != 0 && present->code != code)
            return fail(nullptr, now, fmt::format("the sidecar closed with {}", code));
        next(now, now);
        leave(nullptr, now, {});
    } else {
        leave(nullptr, now, fmt::format("the sidecar closed with {}", code));
    }
}

void Player::ended(std::uint32_t number, std::string_view how, TimePoint now)
{
    std::lock_guard lock{mutex_};
    if (on_ == number && !is_over())
        leave(nullptr, now, how);
}

/// The script has left its connection. `how` the connection ended, if not by the script: a step may
/// expect that.
void Player::leave(MockConnection* connection, TimePoint now, std::string_view how)
{
    on_ = 0;
    const auto* const present = step();
    const auto kind = present ? present->kind : Step::Kind::rest;
    if (!waiting_.empty())
        return fail(connection, now,
                    fmt::format("{} came, and no step took it", quoted(waiting_.front().view())));
    if (how.empty())
        return;
    if (kind == Step::Kind::expect_end)
        next(now, now);
    else if (kind != Step::Kind::accept && kind != Step::Kind::refuse && present)
        fail(connection, now, how);
}

// --- the steps

void Player::begin(TimePoint now)
{
    if (!std::exchange(is_begun_, true))
        began_ = now;
}

void Player::next(TimePoint when, TimePoint now)
{
    state_.add_to_trace(now, fmt::format("script {}", where()));
    ++at_;
    done_ = 0;
    began_ = when;
}

TimePoint Player::advance(MockConnection& connection, TimePoint now)
{
    std::lock_guard lock{mutex_};
    if (!is_begun_)
        on_ = connection.number();
    begin(now);
    try {
        while (!is_over() && step())
            if (const auto due = perform(connection, now))
                return *due;
    } catch (...) {
        fail_with_exception(connection, now);
    }
    return TimePoint::max();
}

/// Performs the present step, or a part of it, if it is due. Returns when it is; empty: it was.
std::optional<TimePoint> Player::perform(MockConnection& connection, TimePoint now)
{
    const auto& present = *step();
    const bool is_on = on_ != 0;
    switch (present.kind) {
    case Step::Kind::accept:
    case Step::Kind::refuse: return TimePoint::max(); // see connecting()
    case Step::Kind::expect:
    case Step::Kind::expect_close:
    case Step::Kind::expect_end: return await(present, connection, now);
    case Step::Kind::ignore:
        ignored_.push_back(&present);
        std::erase_if(waiting_, [&](const Came& came) { return present.matches(came.view()); });
        next(began_, now);
        return std::nullopt;
    case Step::Kind::rest:
        next(began_, now);
        is_free_ = true;
        return std::nullopt;
    case Step::Kind::stream:
    case Step::Kind::act: break;
    }
    if (!is_on && (present.act || present.generate))
        return TimePoint::max(); // the next connect
    const auto due = present.generate ? began_ + present.time * static_cast<Duration::rep>(done_)
                                      : deadline_after(began_, present.time);
    if (due > now)
        return due;
    if (present.generate) {
        if (done_ != present.count)
            connection.deliver(present.generate(done_++));
        if (done_ < present.count)
            return std::nullopt;
    } else if (present.act) {
        present.act(connection);
        if (!connection.is_open())
            leave(&connection, now, {});
    }
    if (!failure_)
        next(due, now);
    return std::nullopt;
}

/// Looks whether a message that came meets the expectation, or its time is over.
std::optional<TimePoint> Player::await(const Step& step, MockConnection& connection, TimePoint now)
{
    const auto deadline = deadline_after(began_, step.time);
    const bool has_message = !waiting_.empty();
    if (has_message && waiting_.front().at <= deadline) {
        const auto came = std::move(waiting_.front());
        waiting_.pop_front();
        if (step.kind != Step::Kind::expect || !step.matches(came.view()))
            fail(&connection, now, fmt::format("{} came", quoted(came.view())));
        else
            next(std::max(began_, came.at), now);
        return std::nullopt;
    }
    if (now <= deadline) // the message may come in this moment
        return deadline_after(deadline, Duration{1});
    fail(&connection, now,
         has_message ? fmt::format("{} came too late", quoted(waiting_.front().view()))
                     : "nothing came");
    return std::nullopt;
}

// --- the verdict

void Player::fail(MockConnection* connection, TimePoint now, std::string_view what)
{
    failure_ = fmt::format("{}: {} at {}", where(), what, seconds(now.time_since_epoch()));
    state_.add_to_trace(now, fmt::format("script fails: {}", *failure_));
    {
        std::lock_guard lock{state_.mutex};
        trace_size_ = state_.trace.size();
    }
    if (connection)
        connection->fail({Error::script_failed,
                          {.attempted = "read",
                           .endpoint = "mock",
                           .explanation = *failure_,
                           .is_passing = false}});
}

/// A function of the script threw.
void Player::fail_with_exception(MockConnection& connection, TimePoint now)
{
    const auto why = to_failure(std::current_exception(), Error::callback_failed, {}, {});
    fail(&connection, now, fmt::format("the step's function threw: {}", why.message()));
}

std::string Player::where() const
{
    const auto* const present = step();
    if (!present)
        return fmt::format("behind the last of {} steps", steps_.size());
    auto text = fmt::format("step {} of {}, {}", at_ + 1, steps_.size(), present->text);
    if (done_ != 0)
        text += fmt::format(" ({} of {} done)", done_, present->count);
    return text;
}

std::optional<Player::Verdict> Player::verdict() const
{
    std::lock_guard lock{mutex_};
    if (failure_)
        return Verdict{*failure_, trace_size_};
    if (is_free_ || !step() || step()->kind == Step::Kind::rest
        || step()->kind == Step::Kind::ignore)
        return std::nullopt;
    return Verdict{fmt::format("{}: not done, {}", where(),
                               !is_begun_ ? std::string{"there was no connect"}
                                          : "begun at " + seconds(began_.time_since_epoch())),
                   SIZE_MAX};
}

} // namespace sidecar::mock
