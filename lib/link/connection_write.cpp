// The writing half of a connection: the session's messages, what is sticky, the outbox.
#include "link/connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace sidecar::detail {
namespace {

/// After a failed write the peer is silent for so long, and then its last words (and the reason that
/// they may hold) are not waited for any more.
constexpr auto last_words = std::chrono::milliseconds{100};

/// And a peer that goes on talking, since only our sending has failed, is listened to for so many
/// times that long.
constexpr unsigned most_last_words = 50;

} // namespace

bool Connection::open(Continuity continuity, std::deque<Message> unread)
{
    // First: what somebody adds once it is up, is not waited for.
    const bool has_sticky = parts_.sticky.begin_connection();
    if (!parts_.owner.prepared(continuity)) {
        parts_.services.discarded.fetch_add(unread.size());
        return false;
    }
    timer_.cancel();
    parts_.intake.put_first(std::move(unread));
    stage_ = has_sticky ? Stage::sticky : Stage::all;
    if (has_sticky) {
        auto& loop = parts_.services.loop;
        timer_ =
            loop.timers().at(deadline_after(loop.now(), parts_.settings.options->confirm_timeout),
                             [this] { answers_overdue(); });
    } else if (parts_.settings.options->on_connected) {
        parts_.owner.restored(std::nullopt);
    }
    if (tasks_[writer])
        wake_writer();
    else
        spawn_writer();
    return true;
}

void Connection::spawn_writer()
{
    spawn(writer, "writer", TimePoint::max(), &Connection::write_all, &Connection::writer_ended);
}

Task<> Connection::write_all(Context ctx)
{
    auto& outbox = parts_.outbox;
    for (;;) {
        if (stage_ == Stage::sticky)
            look_whether_restored();
        bool has_written = false;
        if (has_own_to_write())
            has_written = co_await write_own(ctx);
        if (owes_heartbeat()) {
            co_await write_heartbeat(ctx);
            has_written = true;
        }
        if (has_written)
            continue;
        auto batch = next_ordinary();
        if (!batch) {
            parts_.services.something_changed();
            drained_.set();
            if (stage_ != Stage::all || outbox.prepare_sleep()) {
                ctx.waiting_for("messages to send");
                co_await parts_.upkeep.pacer.work().wait();
            }
            outbox.woke();
            continue;
        }
        if (auto& pacer = parts_.upkeep.pacer; !pacer.is_off()) {
            batch = pacer.allowed(*batch);
            if (!batch) {
                outbox.put_back_batch();
                co_await pacer.wait(ctx);
                continue;
            }
            outbox.narrow_batch(*batch);
        }
        ctx.waiting_for("the peer to take what is written");
        co_await transport_->write(ctx, *batch);
        parts_.gauges.writes.fetch_add(1, std::memory_order_relaxed);
        outbox.finish(*batch);
        parts_.services.loop.expect_answer();
    }
}

bool Connection::has_own_to_write() const noexcept
{
    return (session_ && session_->has_to_write())
           || (stage_ != Stage::session
               && (parts_.sticky.has_to_write() || parts_.outbox.control().has_any()));
}

/// What the outbox holds; but not what stands behind a sticky message that is not written yet.
std::optional<Batch> Connection::next_ordinary()
{
    if (stage_ != Stage::all)
        return std::nullopt;
    auto batch = parts_.outbox.next_batch();
    if (batch && parts_.sticky.has_to_write()) [[unlikely]] {
        parts_.outbox.put_back_batch();
        batch = parts_.outbox.next_batch(parts_.sticky.limit());
    }
    return batch;
}

/// What is not the application's ordinary sending. False: nothing had its turn.
Task<bool> Connection::write_own(Context ctx)
{
    std::vector<std::shared_ptr<SessionImpl::Outgoing>> outgoing;
    std::vector<Sticky::Write> sticky;
    std::vector<Message> control;
    if (session_)
        outgoing = session_->take_outgoing();
    if (stage_ != Stage::session)
        sticky = parts_.sticky.take(parts_.outbox.written_position());
    if (stage_ != Stage::session && parts_.outbox.control().has_any())
        control = parts_.outbox.take_control();
    OwnedBatch own;
    for (const auto& out : outgoing)
        own.add(out->message.view());
    for (const auto& write : sticky)
        own.add({parts_.settings.id, write.message->kind, write.message->bytes()});
    for (const auto& message : control)
        own.add(message.view());
    if (own.empty())
        co_return false;
    watch_for_answers();
    co_await write_at_rate(ctx, own.batch());
    for (const auto& out : outgoing) {
        out->is_written = true;
        out->done.set();
    }
    if (!sticky.empty()) {
        parts_.sticky.written(sticky);
        parts_.services.written.wake();
    }
    if (!control.empty())
        parts_.outbox.note_control_written();
    co_return true;
}

/// What all connections begin with is what exchanges ban for, after a reconnect.
Task<> Connection::write_at_rate(Context ctx, Batch batch)
{
    auto& pacer = parts_.upkeep.pacer;
    while (!batch.empty()) {
        if (owes_heartbeat()) {
            co_await write_heartbeat(ctx);
        }
        const auto now = pacer.allowed(batch);
        if (!now) {
            co_await pacer.wait(ctx);
            continue;
        }
        ctx.waiting_for("the peer to take what is written");
        co_await transport_->write(ctx, *now);
        parts_.gauges.writes.fetch_add(1, std::memory_order_relaxed);
        batch = batch.after(*now);
    }
}

// --- signs of life

/// Not before on_connected has logged in.
bool Connection::owes_heartbeat() const noexcept
{
    const auto* heartbeats = parts_.upkeep.keep_alive.heartbeats();
    return heartbeats && heartbeats->is_due() && stage_ != Stage::session;
}

Task<> Connection::write_heartbeat(Context ctx)
{
    auto& keep_alive = parts_.upkeep.keep_alive;
    keep_alive.heartbeats()->set_due(false);
    ctx.waiting_for("the peer to take the heartbeat");
    co_await transport_->write(ctx, keep_alive.heartbeats()->batch());
    keep_alive.asked_written();
}

void Connection::ping()
{
    if (!tasks_[pinger])
        spawn(pinger, "ping", TimePoint::max(), &Connection::write_ping, &Connection::pinger_ended);
}

Task<> Connection::write_ping(Context ctx)
{
    const auto payload = parts_.upkeep.keep_alive.ping_payload();
    ctx.waiting_for("the peer to take the ping");
    co_await transport_->ping(ctx, payload);
    parts_.upkeep.keep_alive.asked_written();
}

/// Where a ping cannot be written, nothing can be.
void Connection::pinger_ended(std::exception_ptr exception)
{
    if (exception && tasks_[listener]
        && parts_.owner.writing_ended(failure_of(exception, Error::disconnected, "ping")))
        await_last_words(most_last_words);
}

// --- the writer's end

void Connection::writer_ended(std::exception_ptr exception)
{
    parts_.outbox.give_up_batch();
    drained_.set();
    std::optional<Failure> why;
    if (exception)
        why = failure_of(exception, Error::disconnected, "write");
    // The listener may still find out why (a close frame, the reason in it).
    if (parts_.owner.writing_ended(std::move(why)))
        await_last_words(most_last_words);
}

/// What has arrived is delivered, however long the application takes for it; only a peer that says
/// nothing more is not waited for.
void Connection::await_last_words(unsigned windows)
{
    auto& loop = parts_.services.loop;
    // Bytes, not reads: one read takes in all of a large message
    const auto progress = [this] {
        return std::pair{parts_.gauges.reads.load(std::memory_order_relaxed),
                         parts_.upkeep.keep_alive.signs().heard.at()};
    };
    timer_ = loop.timers().at(deadline_after(loop.now(), last_words),
                              [this, windows, progress, before = progress()] {
                                  const bool has_read = before != progress();
                                  if (parts_.intake.is_paused())
                                      await_last_words(windows);
                                  else if (has_read && windows != 0)
                                      await_last_words(windows - 1);
                                  else
                                      abort();
                              });
}

// --- what is sticky

void Connection::watch_for_answers()
{
    const bool expects = parts_.sticky.expects_answers();
    if (expects == is_watching_)
        return;
    is_watching_ = expects;
    if (expects)
        parts_.intake.watch(answers_);
    else
        parts_.intake.unwatch(answers_);
}

/// Only the writer says that it is restored: so what was the answer goes to the application first.
MessageWatcher::Verdict Connection::AnswerWatch::offer(const MessageView& message)
{
    if (connection_.parts_.sticky.offer(message)) {
        connection_.watch_for_answers();
        connection_.wake_writer();
    }
    return Verdict::pass;
}

void Connection::look_whether_restored()
{
    if (parts_.sticky.is_restored())
        finish_restoring(std::nullopt);
}

void Connection::answers_overdue()
{
    constexpr std::size_t most_named = 16;
    const auto keys = parts_.sticky.unconfirmed();
    std::string text = "no answer to";
    for (std::size_t i = 0; i < keys.size() && i < most_named; ++i)
        text += fmt::format("{} \"{}\"", i == 0 ? "" : ",", keys[i]);
    if (keys.size() > most_named)
        text += fmt::format(" and {} more", keys.size() - most_named);
    finish_restoring(Failure{Error::unconfirmed,
                             {.attempted = "send the sticky messages",
                              .endpoint = parts_.settings.endpoint,
                              .explanation = std::move(text)}});
}

void Connection::finish_restoring(std::optional<Failure> failure)
{
    timer_.cancel();
    parts_.sticky.stop_waiting();
    stage_ = Stage::all;
    wake_writer();
    parts_.owner.restored(std::move(failure));
}

} // namespace sidecar::detail
