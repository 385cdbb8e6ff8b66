// One link: what the application calls a connection, over all the connections that it has in turn.
#pragma once

#include "link/backoff.hpp"
#include "link/connection.hpp"
#include "link/keep_alive.hpp"
#include "link/life.hpp"
#include "link/link_sink.hpp"
#include "link/services.hpp"
#include "link/subscriptions.hpp"
#include "link/writer.hpp"
#include "loop/phase_note.hpp"
#include "queue/outbox.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace sidecar::detail {

class Links;

/// What a link is made from; never changes while it lives. Side: any.
struct LinkSettings {
    LinkId id{};
    std::shared_ptr<const LinkConfig> config;
    std::string endpoint; ///< what errors call the other side
    std::shared_ptr<const LinkOptions> options;
};

/// What a link counts. Both: atomic.
struct LinkCounters {
    std::atomic<std::uint64_t> reads{0}, failed_attempts{0};
    std::atomic<Duration::rep> connect_time{0};
};

/// How a link's connecting, or its close, ended. Written once, by the sidecar side.
class Outcome {
public:
    /// False: it was set before, and stays as it was. Side: sidecar.
    bool set(Result<void> outcome)
    {
        if (is_known())
            return false;
        outcome_ = std::move(outcome);
        is_known_.store(true);
        return true;
    }
    [[nodiscard]] bool is_known() const noexcept { return is_known_.load(); }
    /// Only once it is known. Side: both.
    [[nodiscard]] const Result<void>& get() const noexcept { return outcome_; }

private:
    Result<void> outcome_;              // both: constant once it is known
    std::atomic<bool> is_known_{false}; // both: atomic
};

/// Makes a connection, and another one when that is gone and the link comes back. `Life` knows the
/// link's state and decides what follows from what happens to the connections, `Backoff` when the next one is tried; `LinkSink` takes messages
/// in, `Writer` takes them out of `Outbox`, `Subscriptions` are what each connection begins with. Shared by
/// the run's registry and by the application's Link; the registry keeps it for as long as one of its
/// tasks runs. Invariant: no two connections at once.
class LinkImpl final : public std::enable_shared_from_this<LinkImpl> {
public:
    /// Lifetime: `services` and `links` outlive it.
    LinkImpl(LinkServices& services, Links& links, LinkSettings settings);
    LinkImpl(const LinkImpl&) = delete;
    LinkImpl& operator=(const LinkImpl&) = delete;

    // --- sidecar side
    /// Makes the first attempt. `deadline`: when whoever opens it gives up.
    void begin(TimePoint deadline);
    /// Refuses further sends; lets a paused listener read on, into nothing; ends the waiting for the
    /// next attempt.
    void quiesce();
    [[nodiscard]] bool is_drained() const { return !is_up() || !connection_->has_unsent(); }
    /// There is a connection to say goodbye on.
    [[nodiscard]] bool is_open() const noexcept { return life_.is_open() && !life_.cause(); }
    void begin_close(TimePoint deadline);
    /// For the application: drains, closes and aborts this one link.
    void close_alone(TimePoint drain_by, TimePoint deadline);
    void abort() noexcept;
    void destroy_transport() noexcept;
    void expect_tasks_to_end() noexcept;

    // --- app side, any thread
    Result<void> close(Duration timeout);
    /// Closes it without waiting: nobody has it, since its opening took too long.
    void withdraw();
    /// Why a call fails that the link does not take now.
    [[nodiscard]] Failure refusal(const char* attempted) const;
    /// No message is taken from the application now.
    [[nodiscard]] bool is_over() const noexcept;

    // --- both
    /// Releases senders that wait for a loop that will not answer.
    void release_senders() { outbox_.close(); }
    [[nodiscard]] LinkId id() const noexcept { return settings_.id; }
    [[nodiscard]] const LinkConfig& config() const noexcept { return *settings_.config; }
    [[nodiscard]] const LinkOptions& options() const noexcept { return *settings_.options; }
    [[nodiscard]] const std::string& endpoint() const noexcept { return settings_.endpoint; }
    [[nodiscard]] const Life& life() const noexcept { return life_; }
    [[nodiscard]] bool is_up() const noexcept { return life_.state() == Life::State::up; }
    [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }
    [[nodiscard]] std::string describe() const;

    // --- its parts; the side is that of their calls
    [[nodiscard]] LinkServices& services() noexcept { return services_; }
    [[nodiscard]] KeepAlive& keep_alive() noexcept { return keep_alive_; }
    [[nodiscard]] LinkSink& sink() noexcept { return sink_; }
    [[nodiscard]] Outbox& outbox() noexcept { return outbox_; }
    [[nodiscard]] Subscriptions& subscriptions() noexcept { return subscriptions_; }
    /// For send(), flush() and subscriptions.
    [[nodiscard]] Writer& writer() noexcept { return writer_; }
    [[nodiscard]] PhaseNote& note() noexcept { return note_; }
    [[nodiscard]] LinkCounters& counters() noexcept { return counters_; }

    // --- sidecar side, for its parts: what happens to the connection
    /// The transport is connected. False: it is too late for that.
    [[nodiscard]] bool connected(Duration took);
    /// Before anything else is handed on to the application.
    void announce_up(Continuity continuity);
    /// What goes before all else is done, so the connection is up. False: it is too late for that.
    /// `number`: the connection's.
    [[nodiscard]] bool prepared(std::uint32_t number, Continuity continuity);
    /// What goes before ordinary messages is done; `failure`: but not all of it.
    void restored(std::optional<Failure> failure);
    enum class Cause : std::uint8_t { any, send };
    /// The connection is no good, although its listener has not ended. `send`: the peer's goodbye,
    /// if it is read, explains more. True: so it ends.
    [[nodiscard]] bool condemn(Failure why, Cause cause);
    void close_began()
    {
        keep_alive_.down(); // the close has its own deadline
        life_.close_began();
    }
    void close_ended(std::optional<Failure> why) { life_.close_ended(std::move(why)); }
    /// With that the connection is down; it is aborted already.
    void reading_ended(std::optional<Failure> why);
    /// Nothing of it runs now. It may be destroyed, but not before the loop's next turn.
    void connection_ended();

    // --- sidecar side, for the KeepAlive
    /// Puts the question, in the background; KeepAlive::asked_written() says when it is written.
    void ask_peer();
    /// Ends the connection at once, with Error::unresponsive. Without effect while it is closed.
    void drop(FailureDetails why);
    /// With the number of the present connection.
    void push_event(Event event);

private:
    void begin_quiescing(bool by_application);
    void cut();
    void attempt();
    [[nodiscard]] bool is_stopping() const noexcept;
    [[nodiscard]] std::optional<TimePoint> announce_end(Event::Kind kind, Failure& why,
                                                        std::optional<TimePoint> next);
    [[nodiscard]] std::optional<TimePoint> next_attempt(Failure& why);
    [[nodiscard]] Failure start_failure(const Failure& why) const;
    void end_for_good(const Failure& why);
    void all_ended();
    [[nodiscard]] Failure timed_out_close() const;
    void set_outcome(Result<void> outcome);
    [[nodiscard]] bool keeps_queue() const noexcept;

    LinkServices& services_;                  // both
    Links& links_;                            // sidecar side
    const LinkSettings settings_;             // both: constant
    Life life_;                               // as its calls say
    std::unique_ptr<Backoff> backoff_;        // sidecar side; null: it does not come back
    TimePoint connect_by_ = TimePoint::max(); // sidecar side; for the first connection to be up
    TimePoint next_at_{};                     // sidecar side; the next attempt
    std::optional<Failure> last_failure_;     // sidecar side; of an attempt, until it is up
    Timers::Timer timer_;         // sidecar side; for the next attempt, or for the end of a close
    KeepAlive keep_alive_;        // sidecar side, but for its counters
    LinkSink sink_;               // sidecar side, but for its pauses
    Outbox outbox_;               // both
    Subscriptions subscriptions_; // both
    Writer writer_;               // sidecar side, but for its counters
    std::unique_ptr<Connection> connection_;      // sidecar side
    PhaseNote note_;                              // both
    Outcome outcome_;                             // both; of the connecting that somebody waits for
    Outcome closed_;                              // both; of the application's close
    std::atomic<bool> is_close_requested_{false}; // both: atomic; by the application
    LinkCounters counters_;                       // both
};

} // namespace sidecar::detail
