// Connection: one connection of a link, with its transport, listener, writer and closer.
#pragma once

#include "link/session.hpp"
#include "loop/event_loop.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/error.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <optional>

namespace sidecar::detail {

class LinkImpl;

/// Runs one transport by tasks of the loop: a listener that connects and reads, a writer, and,
/// where they are needed, on_connected, a ping and a closer. The link owns it, makes a new one for
/// each attempt, and decides what follows when its tasks end. After a failed send the connection
/// reads on until the peer is silent for 100 ms, for about 5 s at most; a pause for a full inbox
/// does not count. Invariants: at most one write and one read at a time; no ordinary message is
/// written before the connection is restored; each wait has a separate timer. Side: sidecar.
class Connection {
public:
    /// Lifetime: `link` owns it.
    explicit Connection(LinkImpl& link) noexcept : link_{link} {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Spawns the listener, which connects first. `deadline`: for connecting. `prepare_by`: for
    /// on_connected.
    void begin(Attempt attempt, TimePoint deadline, TimePoint prepare_by);
    /// Drains the outbox until `drain_by`, then closes. A second call only shortens the drain.
    /// `deadline`: of the transport's close.
    void begin_close(TimePoint drain_by, TimePoint deadline);
    /// Cancels on_connected, whose failure is then ignored.
    void cancel_preparing() { cancel(preparer); }
    void abort() noexcept;
    /// A listener accepts no more clients.
    void stop_accepting() noexcept
    {
        if (transport_)
            transport_->stop_accepting();
    }
    /// Aborts the transport, and cancels the listener and on_connected.
    void cut();
    /// Pings in the background; no effect while an earlier ping is not written yet.
    void ping();
    /// Lets the writer look for messages. Starts it with the first one: many links never send.
    void wake_writer();
    /// A subscription was answered.
    void subscription_answered();
    /// Called by the writer: before each look into the outbox, before it writes messages of the
    /// priority queue, and when there is nothing to write.
    void look_whether_restored();
    void watch_for_answers();
    void nothing_to_write();
    void destroy_transport() noexcept { transport_.reset(); }
    [[nodiscard]] bool has_tasks() const noexcept { return tasks_ != Tasks{}; }
    /// Returns whether a message of send(), subscribe() or unsubscribe() may still be written.
    [[nodiscard]] bool has_unsent() const;
    /// Adds the transport's note to a failure of the network. Without memory it adds nothing.
    [[nodiscard]] Failure noted(Failure why) const noexcept;
    /// The tasks end with the connection: their cancellation is not reported.
    void expect_tasks_to_end() noexcept;

private:
    enum Role { listener, writer, preparer, closer, pinger, role_count };
    using Tasks = std::array<TaskSlot*, role_count>;

    void spawn(Role role, const char* name, TimePoint deadline, Task<> (Connection::*run)(Context),
               void (Connection::*ended)(std::exception_ptr));
    void task_ended(Role role, void (Connection::*ended)(std::exception_ptr),
                    std::exception_ptr exception);
    void spawn_writer();
    void end_by_exception();
    [[nodiscard]] bool prepare();
    [[nodiscard]] bool open(Continuity continuity, std::deque<Message>* unread);
    Task<> listen(Context ctx);
    Task<> connect(Context ctx);
    Task<std::shared_ptr<const LinkConfig>> make_config(Context ctx);
    void keep_facts();
    Task<> accept_all(Context ctx);
    Task<> end_session(Context ctx);
    Task<> write_all(Context ctx);
    Task<> write_ping(Context ctx);
    Task<> run_on_connected(Context ctx);
    Task<> drain_and_close(Context ctx);
    void listener_ended(std::exception_ptr exception);
    [[nodiscard]] Failure listener_failure(const std::exception_ptr& exception) const;
    void writer_ended(std::exception_ptr exception);
    void preparer_ended(std::exception_ptr exception);
    void closer_ended(std::exception_ptr exception);
    void pinger_ended(std::exception_ptr exception);
    void set_deadline(TimePoint deadline, const char* attempted);
    void sending_failed(Failure why);
    void await_last_words(unsigned windows);
    void stop_writing();
    void answers_overdue();
    void finish_restoring(std::optional<Failure> failure);
    void cancel(Role role);
    [[nodiscard]] Failure failure_of(const std::exception_ptr& exception, Error code,
                                     const char* attempted) const;

    LinkImpl& link_;                          // see its members for their sides
    std::unique_ptr<AnyTransport> transport_; // sidecar side
    Tasks tasks_{};                           // sidecar side; by role; null: not running
    Timers::Timer deadline_;                  // sidecar side; for connecting and on_connected
    Timers::Timer answers_;                   // sidecar side; for the subscriptions' answers
    Timers::Timer last_words_;                // sidecar side; after a failed write
    std::optional<Failure> read_failure_;     // sidecar side; why reading ended
    std::unique_ptr<SessionImpl> session_;    // sidecar side; while on_connected runs
    LoopEvent session_over_;                  // sidecar side
    Attempt attempt_;                         // sidecar side
    TimePoint prepare_by_{};                  // sidecar side
    std::uint32_t number_ = 0;                // sidecar side; its number once it is up
    bool is_writer_due_ = false;              // sidecar side; the first message starts it
    bool is_watching_ = false;                // sidecar side; subscriptions see messages
    std::optional<TimePoint> drain_by_;       // sidecar side; set: it is closing
    LoopEvent drained_;                       // sidecar side; may be drained: look again
};

} // namespace sidecar::detail
