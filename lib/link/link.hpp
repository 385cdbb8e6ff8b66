// LinkImpl: one link of the application, over all its connections.
#pragma once

#include "link/backoff.hpp"
#include "link/clients.hpp"
#include "link/connection.hpp"
#include "link/keep_alive.hpp"
#include "link/link_sink.hpp"
#include "link/link_state.hpp"
#include "link/requests.hpp"
#include "link/services.hpp"
#include "link/subscriptions.hpp"
#include "link/writer.hpp"
#include "loop/phase_tracker.hpp"
#include "queue/memory_budget.hpp"
#include "queue/outbox.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace sidecar::detail {

class Links;

/// A link's settings, constant while it lives. Side: any.
struct LinkSettings {
    LinkId id{};
    std::shared_ptr<const LinkConfig> config;
    std::string endpoint; ///< names the peer in errors
    std::shared_ptr<const LinkOptions> options;
    std::shared_ptr<Clients> clients{}; ///< of a listener; null: the link is none
    std::shared_ptr<Clients> of{};      ///< of a client: its listener's; null: the link is none

    [[nodiscard]] const ClientOverflow* overflow() const noexcept
    {
        return of ? &of->settings().overflow : nullptr;
    }
    [[nodiscard]] QueueLimits outbox(const QueueLimits& general) const
    {
        return of ? of->outbox_limits()
                  : outbox_limits(options->outbox, general, config->max_message_bytes());
    }
};

/// Counters of a link. Both: atomic.
struct LinkCounters {
    std::atomic<std::uint64_t> reads{0}, failed_attempts{0};
    std::atomic<Duration::rep> connect_time{0};
};

/// The result of a link's connecting, or of its close. The sidecar side sets it once.
class Outcome {
public:
    /// Returns false, and changes nothing, if it is set already. Side: sidecar.
    bool set(Result<void> outcome)
    {
        if (is_known())
            return false;
        outcome_ = std::move(outcome);
        is_known_.store(true);
        return true;
    }
    [[nodiscard]] bool is_known() const noexcept { return is_known_.load(); }
    /// Valid once is_known(). Side: both.
    [[nodiscard]] const Result<void>& get() const noexcept { return outcome_; }

private:
    Result<void> outcome_;              // both: constant once it is known
    std::atomic<bool> is_known_{false}; // both: atomic
};

/// Makes a connection, and the next one after a failure if the link reconnects. `LinkState` knows
/// the link's state and decides the consequence of each event. `Backoff` times the next attempt.
/// `LinkSink` takes messages in, `Writer` takes them out of `Outbox`. Each connection begins with
/// the `Subscriptions`. The run's registry and the application's Link share the link; the registry
/// keeps it while one of its tasks runs. Invariant: at most one connection at a time.
class LinkImpl final : public std::enable_shared_from_this<LinkImpl> {
public:
    /// Lifetime: `services` and `links` outlive it.
    LinkImpl(LinkServices& services, Links& links, LinkSettings settings);
    LinkImpl(const LinkImpl&) = delete;
    LinkImpl& operator=(const LinkImpl&) = delete;

    // --- sidecar side
    /// Makes the first attempt. `deadline`: when the caller that opens the link gives up.
    void begin(TimePoint deadline);
    /// Refuses further sends, lets a paused listener read and discard, and ends the wait for the
    /// next attempt.
    void quiesce();
    [[nodiscard]] bool is_drained() const { return !is_up() || !connection_->has_unsent(); }
    /// Returns whether there is a working connection to close.
    [[nodiscard]] bool is_open() const noexcept { return state_.is_open() && !state_.cause(); }
    void begin_close(TimePoint deadline);
    /// Drains, closes and aborts only this link, for the application.
    void close_alone(TimePoint drain_by, TimePoint deadline, CloseReason reason);
    /// Returns what a close that begins now says to the peer.
    [[nodiscard]] CloseReason close_reason() const;
    /// Ends a listener's client that does not keep up, with the code 1013. Returns false if it is
    /// ending already.
    bool end_slow();
    void abort() noexcept;
    void destroy_transport() noexcept;
    void expect_tasks_to_end() noexcept;

    // --- app side, any thread
    /// `reason` is valid.
    Result<void> close(Duration timeout, CloseReason reason);
    /// Begins that, without waiting.
    void request_close(TimePoint drain_by, TimePoint deadline, CloseReason reason);
    /// Closes a link whose opening took too long: nobody holds it. Does not wait.
    void withdraw();
    /// Returns the failure of a call that the link refuses now.
    [[nodiscard]] Failure refusal(const char* attempted) const;
    /// Returns whether the link has ended, is being closed, or is being stopped.
    [[nodiscard]] bool is_over() const noexcept;

    // --- both
    /// Refuses sends from now on and wakes waiting senders, without the loop's help.
    void release_senders() { outbox_.close(); }
    [[nodiscard]] LinkId id() const noexcept { return settings_.id; }
    [[nodiscard]] const LinkConfig& config() const noexcept { return *settings_.config; }
    [[nodiscard]] const LinkOptions& options() const noexcept { return *settings_.options; }
    [[nodiscard]] const std::string& endpoint() const noexcept { return settings_.endpoint; }
    [[nodiscard]] const LinkState& link_state() const noexcept { return state_; }
    [[nodiscard]] bool is_up() const noexcept { return state_.state() == LinkState::State::up; }
    /// The clients of a listener; null: the link is none.
    [[nodiscard]] Clients* clients() const noexcept { return settings_.clients.get(); }
    /// Those of the listener that accepted this link; null: the link is no client.
    [[nodiscard]] Clients* client_of() const noexcept { return settings_.of.get(); }
    [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }
    [[nodiscard]] std::string describe() const;

    // --- parts; each documents the side of its calls
    [[nodiscard]] LinkServices& services() noexcept { return services_; }
    [[nodiscard]] KeepAlive& keep_alive() noexcept { return keep_alive_; }
    [[nodiscard]] LinkSink& sink() noexcept { return sink_; }
    [[nodiscard]] Outbox& outbox() noexcept { return outbox_; }
    [[nodiscard]] Subscriptions& subscriptions() noexcept { return subscriptions_; }
    /// Implements send(), flush() and the subscription calls.
    [[nodiscard]] Writer& writer() noexcept { return writer_; }
    /// Implements request().
    [[nodiscard]] Requests& requests();
    [[nodiscard]] PhaseTracker& note() noexcept { return note_; }
    [[nodiscard]] LinkCounters& counters() noexcept { return counters_; }

    // --- sidecar side, called by the parts on events of the connection
    /// The transport has connected. Returns false if the link was given up or stopped meanwhile.
    [[nodiscard]] bool connected(Duration elapsed);
    /// Pushes `up`, once for each connection. Must precede the connection's messages.
    void announce_up(Continuity continuity);
    /// on_connected is done: the connection is up. Returns false if the link was given up or
    /// stopped meanwhile. `number`: the connection's. `phase`: open, or subscribing until
    /// restored().
    [[nodiscard]] bool prepared(std::uint32_t number, Continuity continuity, Phase phase);
    /// on_connected and the subscriptions are done: pushes `ready`. `failure`: some subscriptions
    /// are not acknowledged.
    void restored(std::optional<Failure> failure);
    enum class Cause : std::uint8_t { any, send };
    /// Marks the connection as failed while its listener still runs. `send`: a close by the peer
    /// that is read later replaces this cause. Returns whether the caller must end the connection.
    [[nodiscard]] bool condemn(Failure why, Cause cause);
    void close_began()
    {
        keep_alive_.down(); // the close has its own deadline
        state_.close_began();
    }
    void close_ended(std::optional<Failure> why)
    {
        state_.close_ended(why ? noted(*std::move(why)) : std::move(why));
    }
    /// The listener ended: the connection is down. The transport is aborted, or was never made.
    void reading_ended(std::optional<Failure> why);
    /// The connection's last task ended. The connection must stay until the next loop iteration.
    void connection_ended();

    // --- sidecar side, called by KeepAlive
    /// Sends a ping or the heartbeat, in the background. KeepAlive::asked_written() follows when it
    /// is written.
    void ask_peer();
    /// Ends the connection at once, with Error::unresponsive. No effect during a close.
    void drop(FailureDetails why);
    /// Pushes the event with the current connection's number.
    void push_event(Event event);
    /// Lets the connection, if there is one, look for messages to write.
    void wake_writer()
    {
        if (connection_)
            connection_->wake_writer();
    }

private:
    void begin_quiescing(bool by_application);
    void cut();
    void attempt();
    [[nodiscard]] bool is_stopping() const noexcept;
    void link_ended(const LinkState::End& end);
    void client_ended(const LinkState::End& end) noexcept;
    [[nodiscard]] std::optional<TimePoint> announce_end(Event::Kind kind, Failure& why,
                                                        std::optional<TimePoint> next);
    [[nodiscard]] std::optional<TimePoint> next_attempt(Failure& why);
    [[nodiscard]] Failure traced(Failure why) const noexcept;
    [[nodiscard]] Failure noted(Failure why) const noexcept
    {
        return connection_ ? connection_->noted(std::move(why)) : why;
    }
    [[nodiscard]] Failure start_failure(const Failure& why) const noexcept;
    void end_for_good(const Failure& why);
    void all_ended();
    [[nodiscard]] Failure timed_out_close() const;
    void set_outcome(Result<void> outcome);
    [[nodiscard]] bool keeps_queue() const noexcept;

    LinkServices& services_;                  // both
    Links& links_;                            // sidecar side
    const LinkSettings settings_;             // both: constant
    LinkState state_;                         // see its calls for their sides
    std::unique_ptr<Backoff> backoff_;        // sidecar side; null: no reconnect
    TimePoint connect_by_ = TimePoint::max(); // sidecar side; for the first connection
    TimePoint next_at_{};                     // sidecar side; of the next attempt
    std::optional<Failure> last_failure_;     // sidecar side; of the last attempt; empty once up
    Timers::Timer timer_;                // sidecar side; the next attempt, or the close's deadline
    KeepAlive keep_alive_;               // sidecar side, except its counters
    LinkSink sink_;                      // sidecar side, except its pauses
    Outbox outbox_;                      // both
    Subscriptions subscriptions_;        // both
    Writer writer_;                      // sidecar side, except its counters
    std::once_flag requests_once_;       // both
    std::unique_ptr<Requests> requests_; // both; made by the first request
    std::unique_ptr<Connection> connection_;      // sidecar side
    PhaseTracker note_;                           // both
    Outcome outcome_;                             // both; of opening the link
    Outcome closed_;                              // both; of the application's close
    CloseReason close_reason_;                    // sidecar side; of the application's close
    std::atomic<bool> is_close_requested_{false}; // both: atomic; by close()
    LinkCounters counters_;                       // both
};

} // namespace sidecar::detail
