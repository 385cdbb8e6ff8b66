#include "session.hpp"

#include "exit_status.hpp"
#include "tell.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {
namespace {

using namespace std::chrono_literals;

/// The feed's descriptor tells of messages and ends, not of every event.
constexpr sidecar::Duration look_for_events_after = 100ms;
constexpr sidecar::Duration redraw_after = 250ms;
constexpr sidecar::Duration patience_for_reader = 1s;
constexpr std::size_t most_at_once = 4096;

sidecar::TimePoint now() { return std::chrono::steady_clock::now(); }

int to_poll_timeout(sidecar::Duration duration)
{
    if (duration == sidecar::Duration::max())
        return -1;
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
    return static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 3'600'000));
}

/// The peer has said goodbye without a complaint (RFC 6455 section 7.4.1: 1000, or no code at all).
bool is_orderly_goodbye(const sidecar::Failure& failure)
{
    const auto code = failure.close_code();
    return failure == sidecar::Error::closed_by_peer && (code == 0 || code == 1000 || code == 1005);
}

/// The start was refused for what it was told, before anything was connected.
bool is_usage(const sidecar::Failure& failure)
{
    return failure == sidecar::Error::bad_address || failure == sidecar::Error::bad_options;
}

/// The peer has ended the connection by itself, in place of answering our goodbye, and has been sent
/// everything.
bool has_peer_left(sidecar::StopReport report)
{
    if (report.close.verdict == sidecar::Verdict::failed && report.unsent_messages == 0)
        report.close.verdict = sidecar::Verdict::ok;
    return report.clean();
}

sidecar::LogHook log_hook(bool is_quiet)
{
    return [is_quiet](sidecar::LogLevel level, std::string_view text) {
        if (!is_quiet && level >= sidecar::LogLevel::warning)
            tell(fmt::format("sidecar-cat: {}: {}\n", sidecar::to_string(level), text));
    };
}

} // namespace

Session::Session(const Settings& settings, const Place& place)
    : settings_{settings},
      place_{place},
      made_{make_feed(settings.connection, log_hook(settings.output.is_quiet))},
      signals_{sidecar::stop_on_signals(*made_.feed)},
      printer_{settings.output, place.style},
      input_{STDIN_FILENO,
             {.is_raw = settings.output.is_raw,
              .binary = settings.input.binary,
              .limit_bytes = settings.connection.max_message_bytes}},
      output_{STDOUT_FILENO},
      state_line_{place.state_line}
{
    if (!settings.input.is_read)
        input_.close();
}

int Session::run()
{
    starter_.emplace(*made_.feed, settings_.connection.timeout);
    while (phase_ != Phase::over) {
        wait();
        note_deadlines();
        if (phase_ == Phase::running) {
            send_kept();
            send_input();
            note_input_end();
        }
        draw_state();
    }
    return finish();
}

/// Waits until something can be done, and does what needs no more than its own descriptor.
void Session::wait()
{
    // What is echoed is taken only where there is a place for it. What comes from the input must not
    // keep us from receiving: a peer who cannot get rid of his answers reads nothing any more.
    const bool can_take = output_.pending_bytes() == 0 && !(kept_ && settings_.input.echoes);
    const bool can_send = phase_ == Phase::running && !kept_;
    std::array<::pollfd, 5> entries{{
        {starter_ ? starter_->to_poll() : -1, POLLIN, 0},
        {can_take ? feed_descriptor_ : -1, POLLIN, 0},
        {can_send ? input_.to_poll() : -1, POLLIN, 0},
        {output_.is_gone() ? -1 : output_.descriptor(), output_.poll_events(), 0},
        {place_.dump_signals, POLLIN, 0},
    }};
    if (::poll(entries.data(), entries.size(), to_poll_timeout(time_to_wait())) < 0)
        return; // a signal; whom it concerns has been told
    if (entries[0].revents != 0)
        note_started(starter_->result());
    output_.note_poll(entries[3].revents);
    write_output();
    if (can_take
        && (entries[1].revents != 0 || (settings_.connection.reconnects && feed_descriptor_ >= 0)))
        take_messages();
    if (entries[2].revents != 0)
        if (const auto failed = input_.read(); !failed.empty())
            complain(failed);
    if (entries[4].revents != 0)
        answer_dump();
}

/// Nobody tells when an outbox has room again, or is empty, or when a link is back.
sidecar::Duration Session::retry_after() const
{
    return made_.feed->state() == sidecar::State::connected ? 2ms : 50ms;
}

sidecar::Duration Session::time_to_wait() const
{
    auto until = std::min(duration_end_, linger_end_);
    if (state_line_.is_possible())
        until = std::min(until, drawn_at_ + redraw_after);
    const bool awaits_sending = settings_.input.closes_at_eof && input_.is_exhausted()
                                && linger_end_ == sidecar::TimePoint::max();
    if (phase_ == Phase::running && (kept_ || awaits_sending))
        until = std::min(until, now() + retry_after());
    if (phase_ == Phase::running && settings_.connection.reconnects)
        until = std::min(until, now() + look_for_events_after);
    if (phase_ == Phase::stopping)
        until = std::min(until, patience_end());
    return until == sidecar::TimePoint::max() ? sidecar::Duration::max()
                                              : std::max(until - now(), sidecar::Duration{});
}

void Session::note_started(const sidecar::Result<void>& started)
{
    auto& feed = *made_.feed;
    starter_.reset();
    printer_.set_time(std::chrono::system_clock::now());
    auto handle = started ? feed.native_handle() : sidecar::Result<int>{started.error()};
    if (!handle) {
        status_ = is_usage(handle.error()) ? exit_status::usage : exit_status::could_not_connect;
        phase_ = Phase::over;
        state_line_.remove();
        if (output_.is_gone()) { // nobody wants to know, and that is why it stopped
            status_ = exit_status::clean;
            return;
        }
        printer_.down(output_.text(), handle.error());
        complain(handle.error().message());
        return;
    }
    feed_descriptor_ = *handle;
    phase_ = is_muted_ ? Phase::stopping : Phase::running;
    if (settings_.duration != sidecar::Duration{})
        duration_end_ = sidecar::deadline_after(now(), settings_.duration);
    const auto link = feed.link();
    if (!settings_.connection.reconnects) // else the events tell it
        printer_.up(output_.text(), made_.endpoint, link ? link->protocol() : std::string{});
    drawn_at_ = {};
    if (is_muted_ || signals_.signal() != 0) // it may have come before there was something to stop
        begin_stop();
}

void Session::note_deadlines()
{
    if (output_.is_gone() && !is_muted_) {
        is_muted_ = true;
        begin_stop();
    }
    if (phase_ == Phase::running
        && (signals_.signal() != 0 || now() >= std::min(duration_end_, linger_end_)))
        begin_stop();
    if (phase_ == Phase::stopping && now() >= patience_end())
        phase_ = Phase::over;
}

void Session::write_output()
{
    const auto before = output_.pending_bytes();
    output_.write();
    if (before == 0 || output_.pending_bytes() < before)
        written_at_ = now();
}

/// Until when a reader of our output that takes nothing is waited for: for ever, but not when a
/// signal has asked for the stop.
sidecar::TimePoint Session::patience_end() const
{
    const bool is_limited = signals_.signal() != 0 && output_.pending_bytes() != 0;
    return is_limited ? written_at_ + patience_for_reader : sidecar::TimePoint::max();
}

void Session::take_messages()
{
    printer_.set_time(std::chrono::system_clock::now());
    // As many as are there now, so that the text of a batch is bounded by the inbox.
    std::size_t limit = std::max<std::uint64_t>(made_.feed->stats().inbox_messages, 1);
    limit = std::min(limit, most_at_once);
    if (settings_.count != 0 && !is_muted_)
        limit = std::min<std::uint64_t>(limit, settings_.count - received_);
    if (settings_.connection.reconnects)
        return take_events(limit);
    if (!settings_.input.echoes)
        return take_batch(limit);
    // One by one: what cannot be sent back at once must be the last that was taken.
    for (; limit != 0 && !kept_ && phase_ != Phase::over; --limit)
        take_batch(1);
}

void Session::take_batch(std::size_t limit)
{
    const auto taken =
        made_.feed->poll([this](const sidecar::MessageView& message) { take_one(message); }, limit);
    if (!taken)
        return note_failure(taken.error());
    note_received();
}

/// What follows from what was received, and sends it on its way to standard output.
void Session::note_received()
{
    if (settings_.count != 0 && received_ >= settings_.count && !is_muted_) {
        is_muted_ = true;
        begin_stop();
    }
    write_output();
}

/// Where links come back, their ups and downs are told in their places among the messages.
void Session::take_events(std::size_t limit)
{
    for (; limit != 0 && !(kept_ && settings_.input.echoes) && phase_ != Phase::over; --limit) {
        const auto event = made_.feed->next_event({});
        if (event)
            take_event(*event);
        else if (event.error() == sidecar::Error::timed_out)
            break;
        else
            note_failure(event.error());
    }
    note_received();
}

void Session::take_event(const sidecar::Event& event)
{
    using Kind = sidecar::Event::Kind;
    const bool is_over_for_good = !event.next_attempt; // the feed's failure comes next
    switch (event.kind) {
    case Kind::message: take_one(event.message.view()); break;
    case Kind::up: printer_.up(output_.text(), made_.endpoint, event.protocol); break;
    case Kind::down:
    case Kind::retry:
        if (is_over_for_good || !event.failure || is_muted_)
            break;
        printer_.down(output_.text(), *event.failure);
        complain(event.failure->message() + "; it is tried again");
        break;
    case Kind::stopped: phase_ = Phase::over; break;
    default: break; // what is asked for by no option of ours
    }
}

void Session::take_one(const sidecar::MessageView& message)
{
    if (is_muted_)
        return;
    ++received_;
    printer_.message(output_.text(), Direction::received, message);
    if (settings_.input.echoes && phase_ == Phase::running)
        send(message.kind(), message.text());
}

void Session::note_failure(const sidecar::Failure& failure)
{
    phase_ = Phase::over;
    state_line_.remove();
    if (failure == sidecar::Error::stopped || is_muted_) // how a peer ends that said all is his own
        return;
    printer_.down(output_.text(), failure);
    if (is_orderly_goodbye(failure))
        return;
    // With TLS 1.3 a server judges our certificate when for us the handshake is over (RFC 8446
    // section 4.4.4), so its refusal comes where a message would.
    status_ = failure == sidecar::Error::tls_failed ? exit_status::could_not_connect
                                                    : exit_status::link_lost;
    complain(failure.message());
}

void Session::send_input()
{
    while (!kept_) {
        const auto outgoing = input_.next();
        if (!outgoing)
            return;
        if (outgoing->complaint.empty())
            send(outgoing->kind, outgoing->payload, outgoing->line);
        else
            complain(outgoing->complaint);
    }
}

void Session::send(sidecar::MessageKind kind, std::string_view payload, std::size_t line)
{
    if (!try_send(kind, payload, line))
        kept_ = Kept{kind, std::string{payload}, line};
}

void Session::send_kept()
{
    if (kept_ && try_send(kept_->kind, kept_->payload, kept_->line))
        kept_.reset();
}

/// False: there is no room for it now. A message that can never be sent is complained of.
bool Session::try_send(sidecar::MessageKind kind, std::string_view payload, std::size_t line)
{
    using sidecar::Error;
    auto& feed = *made_.feed;
    const auto sent = kind == sidecar::MessageKind::text
                          ? feed.send(payload)
                          : feed.send(std::as_bytes(std::span{payload}));
    if (sent) {
        if (place_.shows_sent)
            printer_.message(output_.text(), Direction::sent,
                             {{}, kind, std::as_bytes(std::span{payload})});
        return true;
    }
    const auto& why = sent.error();
    if (why == Error::full)
        return false;
    if (why == Error::not_connected && settings_.connection.reconnects && !settings_.input.echoes)
        return false; // it waits for the next connection
    // That the link is lost, or a stop under way, is told by the feed in its turn.
    if (!(why == Error::not_connected || why == Error::stopping || why == Error::stopped))
        complain(line != 0 ? fmt::format("line {} is not sent: {}", line, why.message())
                           : why.message());
    return true;
}

void Session::note_input_end()
{
    if (!settings_.input.closes_at_eof || !input_.is_exhausted() || kept_
        || linger_end_ != sidecar::TimePoint::max())
        return;
    if (made_.feed->flush({}))
        linger_end_ = sidecar::deadline_after(now(), settings_.input.linger);
}

void Session::begin_stop()
{
    made_.feed->request_stop();
    if (phase_ == Phase::running)
        phase_ = Phase::stopping;
    duration_end_ = linger_end_ = sidecar::TimePoint::max();
    kept_.reset();
    input_.close();
    state_line_.remove();
}

void Session::draw_state()
{
    if (!state_line_.is_possible() || now() < drawn_at_ + redraw_after)
        return;
    auto stats = made_.feed->stats();
    const auto rates = rates_between(drawn_stats_, stats, now() - drawn_at_);
    state_line_.draw(state_text(made_.feed->state(), rates, stats, state_line_.columns()));
    drawn_stats_ = std::move(stats);
    drawn_at_ = now();
}

void Session::answer_dump()
{
    ::signalfd_siginfo ignored;
    if (::read(place_.dump_signals, &ignored, sizeof ignored) == sizeof ignored)
        tell(made_.feed->dump() + '\n');
}

void Session::write_rest()
{
    while (!output_.is_gone() && output_.pending_bytes() != 0 && now() < patience_end()) {
        const auto end = patience_end();
        const auto left = end == sidecar::TimePoint::max() ? sidecar::Duration::max() : end - now();
        ::pollfd entry{output_.descriptor(), output_.poll_events(), 0};
        if (::poll(&entry, 1, to_poll_timeout(left)) <= 0)
            continue;
        output_.note_poll(entry.revents);
        write_output();
    }
}

/// What became of our output. A reader who has enough is no mistake of anybody's.
void Session::judge_output(const sidecar::StopReport& report)
{
    std::string why;
    if (!output_.error().empty())
        why = fmt::format("standard output: {}", output_.error());
    else if (output_.pending_bytes() != 0 && !output_.is_gone())
        why = fmt::format("{} bytes of output were not taken, nor {} more messages",
                          output_.pending_bytes(), report.unread_messages);
    if (why.empty())
        return;
    complain(why);
    status_ = std::max(status_, exit_status::stopped_uncleanly);
}

int Session::finish()
{
    const auto report = made_.feed->stop();
    const auto stats = made_.feed->stats();
    // A peer that ends behind the last message that was asked for may be a moment faster than we.
    const bool is_clean = report.clean() || (is_muted_ && has_peer_left(report));
    if (status_ == exit_status::clean && !is_clean && !output_.is_gone()) {
        status_ = exit_status::stopped_uncleanly;
        complain(fmt::format("stopped uncleanly: {}", report));
    }
    printer_.set_time(std::chrono::system_clock::now());
    printer_.report(output_.text(), status_, report, stats);
    write_rest();
    judge_output(report);
    if (settings_.output.tells_stats)
        tell(fmt::format("{}\n{}\n", stats, report));
    return status_;
}

void Session::complain(std::string_view text) const
{
    if (!settings_.output.is_quiet)
        tell(fmt::format("sidecar-cat: {}\n", text));
}

} // namespace sidecar_cat
