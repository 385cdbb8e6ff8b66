// One connection of a link: a transport with its listener, writer and closer.
#pragma once

#include "link/intake.hpp"
#include "link/link_settings.hpp"
#include "link/owned_batch.hpp"
#include "link/services.hpp"
#include "link/session.hpp"
#include "link/sticky.hpp"
#include "link/upkeep.hpp"
#include "queue/outbox.hpp"

#include <sidecar/detail/any_transport.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>

namespace sidecar::detail {

/// What others see of a link. Both: atomic.
struct LinkGauges {
    std::atomic<std::uint64_t> reads{0}, writes{0}, wakeups{0};
    std::atomic<std::uint64_t> connections{0}, failed_attempts{0};
    std::atomic<Duration::rep> connect_time{0};
    std::atomic<std::uint32_t> connection{0}; ///< the latest that came up
    std::atomic<bool> is_up{false};
    std::atomic<bool> is_over{false};   ///< what is queued is not written any more
    std::atomic<bool> is_closed{false}; ///< by the application, or soon
    std::atomic<bool> has_ended{false}; ///< nothing of it runs any more
};

/// The link, as its connection tells it what happens. Side: sidecar.
class ConnectionOwner : public PhaseListener {
public:
    /// The transport is connected. False: it is too late for that.
    [[nodiscard]] virtual bool connected(Duration took) = 0;
    /// What comes before all else is done, so it is up. False: it is too late for that.
    [[nodiscard]] virtual bool prepared(Continuity continuity) = 0;
    /// Connecting or on_connected failed, or took too long. True: so the connection ends.
    [[nodiscard]] virtual bool give_up(Failure why) = 0;
    /// What the connection would be, if it came up.
    struct Prospect {
        std::uint32_t number = 1;
        Continuity continuity = Continuity::first;
        TimePoint deadline = TimePoint::max(); ///< for on_connected
    };
    [[nodiscard]] virtual Prospect prospect() const = 0;
    /// True: no more can be sent, but the peer's last words are still to be read.
    [[nodiscard]] virtual bool writing_ended(std::optional<Failure> why) = 0;
    virtual void close_began() = 0;
    virtual void close_ended(std::optional<Failure> why) = 0;
    /// With that the connection is down; it is aborted already.
    virtual void reading_ended(std::optional<Failure> why) = 0;
    /// Nothing of it runs any more. It may be destroyed, but not before the loop's next turn.
    virtual void connection_ended() = 0;
    /// Before anything else is handed on to the application.
    virtual void announce_up(Continuity continuity) = 0;
    /// What comes before ordinary messages is done; `failure`: but not all of it.
    virtual void restored(std::optional<Failure> failure) = 0;
    /// What was agreed on with the peer; where it stands.
    [[nodiscard]] virtual std::string negotiated() const = 0;
    [[nodiscard]] virtual std::string phase_text() const = 0;

protected:
    ~ConnectionOwner() = default;
};

/// Runs one transport: a listener that connects and reads; a writer, of which the session comes
/// first, then what is sticky, then the outbox; and, where they are needed, on_connected and a
/// closer: each a task of the loop. It decides nothing about what follows from their ends: that is
/// the link's, which owns it and makes a new one for each attempt. Invariant: at most one write and
/// one read at a time, and no ordinary message is written before what restores the connection. Side:
/// sidecar.
class Connection {
public:
    /// The link's parts that its connections use one after the other.
    struct Parts {
        LinkServices& services;
        const LinkSettings& settings;
        Intake& intake;
        Outbox& outbox;
        Sticky& sticky;
        LinkGauges& gauges;
        Upkeep& upkeep;
        ConnectionOwner& owner;
    };
    /// Lifetime: the parts outlive it.
    explicit Connection(const Parts& parts) noexcept : parts_{parts} {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Spawns the listener, which connects first.
    void begin(Attempt attempt, TimePoint deadline);
    /// Drains the outbox until `drain_by`, and then says goodbye. A second call only shortens the
    /// drain. `deadline`: what the transport is told.
    void begin_close(TimePoint drain_by, TimePoint deadline);
    /// Cancels on_connected, whose end then means nothing any more.
    void cancel_preparing();
    void abort() noexcept;
    /// Ends connecting at once.
    void cancel_connecting();
    void wake_writer() { parts_.upkeep.pacer.wake(); }
    /// In the background; without effect while one is not written yet.
    void ping();
    void destroy_transport() noexcept { transport_.reset(); }
    [[nodiscard]] bool has_tasks() const noexcept { return tasks_ != Tasks{}; }
    /// Of what was given to send(), stick() and unstick() something may still be written.
    [[nodiscard]] bool has_unsent() const;
    /// What still runs ends with the connection, so that cancelling it is nothing to report.
    void expect_tasks_to_end() noexcept;

private:
    enum Role { listener, writer, preparer, closer, pinger, role_count };
    using Tasks = std::array<TaskSlot*, role_count>;
    /// How far it is, and so what the writer may write.
    enum class Stage : std::uint8_t { connecting, session, sticky, all };
    /// Recognises the answers to sticky messages.
    class AnswerWatch final : public MessageWatcher {
    public:
        explicit AnswerWatch(Connection& connection) noexcept : connection_{connection} {}
        Verdict offer(const MessageView& message) override;

    private:
        Connection& connection_; // sidecar side
    };

    void spawn(Role role, const char* name, TimePoint deadline, Task<> (Connection::*run)(Context),
               void (Connection::*ended)(std::exception_ptr));
    void spawn_writer();
    /// Runs on_connected, if there is one.
    [[nodiscard]] bool prepare();
    /// Puts in what on_connected left, and begins to write: what is sticky first, and then, once that
    /// is answered, the outbox. False: it is too late for that.
    [[nodiscard]] bool open(Continuity continuity, std::deque<Message> unread);
    Task<> listen(Context ctx);
    Task<> connect(Context ctx);
    Task<> connect_anew(Context ctx);
    Task<> read_all(Context ctx);
    Task<> end_session(Context ctx, std::exception_ptr exception);
    Task<> write_all(Context ctx);
    Task<bool> write_own(Context ctx);
    Task<> write_at_rate(Context ctx, Batch batch);
    Task<> write_heartbeat(Context ctx);
    Task<> write_ping(Context ctx);
    Task<> run_on_connected(Context ctx);
    Task<> say_goodbye(Context ctx);
    void listener_ended(std::exception_ptr exception);
    void writer_ended(std::exception_ptr exception);
    void preparer_ended(std::exception_ptr exception);
    void closer_ended(std::exception_ptr exception);
    void pinger_ended(std::exception_ptr exception);
    void set_deadline(TimePoint deadline, const char* attempted);
    void await_last_words(unsigned windows);
    void watch_for_answers();
    void look_whether_restored();
    void answers_overdue();
    void finish_restoring(std::optional<Failure> failure);
    void cancel(Role role);
    [[nodiscard]] bool has_own_to_write() const noexcept;
    [[nodiscard]] bool owes_heartbeat() const noexcept;
    [[nodiscard]] std::optional<Batch> next_ordinary();
    [[nodiscard]] Failure failure_of(const std::exception_ptr& exception, Error code,
                                     const char* attempted) const;

    const Parts parts_;                       // as they say
    std::unique_ptr<AnyTransport> transport_; // sidecar side
    Tasks tasks_{};                           // sidecar side; by role; null: not running
    Timers::Timer timer_; // sidecar side; for connecting, preparing, answers to what is sticky, and
                          // last words, one after the other
    std::unique_ptr<SessionImpl> session_; // sidecar side; while on_connected runs
    LoopEvent session_over_;               // sidecar side
    Attempt attempt_;                      // sidecar side
    Stage stage_ = Stage::connecting;      // sidecar side
    bool is_watching_ = false;             // sidecar side
    AnswerWatch answers_{*this};           // sidecar side
    std::optional<TimePoint> drain_by_;    // sidecar side; it is to be closed
    LoopEvent drained_;                    // sidecar side; perhaps
};

} // namespace sidecar::detail
