// One connection: its listener and writer coroutines, its outbox, and what the application may ask
// of it.
#pragma once

#include "base/wait_point.hpp"
#include "queue/record_ring.hpp"

#include <sidecar/detail/core.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/transport.hpp>

#include "loop/timers.hpp"

#include <atomic>
#include <mutex>
#include <optional>

namespace sidecar::detail {

class Loop;
struct TaskSlot;

class LinkImpl {
public:
    LinkImpl(Loop& loop, LinkId id, std::shared_ptr<const LinkConfig> config, std::string endpoint);
    LinkImpl(const LinkImpl&) = delete;
    LinkImpl& operator=(const LinkImpl&) = delete;

    // --- sidecar side
    /// Spawns the listener, which connects first.
    void begin(TimePoint deadline);
    /// Refuses further sends; lets a paused listener read on, into nothing.
    void quiesce();
    [[nodiscard]] bool is_open() const noexcept { return status_.load() == Status::up; }
    [[nodiscard]] bool is_drained() const noexcept { return !is_open() || !has_unsent(); }
    [[nodiscard]] bool has_unsent() const noexcept
    {
        return writing_ || (outbox() && !outbox()->empty());
    }
    void begin_close(TimePoint deadline);
    [[nodiscard]] bool is_closed() const noexcept { return close_ended_ || !is_open(); }
    [[nodiscard]] const std::optional<Failure>& close_failure() const noexcept
    {
        return close_failure_;
    }
    [[nodiscard]] bool has_closed_well() const noexcept
    {
        return close_begun_ && is_closed() && !close_failure_;
    }
    void abort() noexcept;
    /// There may be room in the inbox again.
    void resume_reading() { room_.set(); }
    void set_phase(Phase phase, std::string detail) noexcept
    {
        phase_.store(phase);
        phase_detail_ = std::move(detail);
    }
    void destroy_transport() noexcept { transport_.reset(); }
    void count_unsent();
    /// What still runs ends with the connection, so that cancelling it is nothing to report.
    void expect_tasks_to_end() noexcept;

    bool put(MessageKind kind, std::span<const std::byte> payload); // Sink
    std::span<std::byte> receive_room(std::size_t at_least);        // Sink
    std::span<std::byte> prepare(std::size_t payload_bytes);        // Sink
    void commit(MessageKind kind);                                  // Sink
    void mark_written(std::size_t count, std::uint64_t end);        // Batch

    // --- app side, any thread
    Result<void> send(MessageKind kind, std::span<const std::byte> payload, TimePoint deadline);
    Result<void> flush(TimePoint deadline);
    /// Lets go of those who wait for a loop that will not answer.
    void release_senders();
    [[nodiscard]] LinkId id() const noexcept { return id_; }
    [[nodiscard]] std::string describe() const;
    /// Set once: connected, or why not.
    [[nodiscard]] bool has_outcome() const noexcept { return has_outcome_.load(); }
    [[nodiscard]] Result<void> outcome() const;
    /// Why the link is down; empty while it is not.
    // sidecar side
    [[nodiscard]] const std::optional<Failure>& last_failure() const noexcept { return failure_; }

    /// Null as long as nothing was sent.
    [[nodiscard]] const RecordRing* outbox() const noexcept
    {
        return outbox_.load(std::memory_order_acquire);
    }
    /// Queued and not written.
    [[nodiscard]] std::uint64_t unsent_messages() const noexcept
    {
        return outbox() ? outbox()->pushed() - outbox()->popped() : 0;
    }
    struct Counters { // both: atomic
        std::atomic<std::uint64_t> sent{0}, sent_bytes{0}, reads{0}, writes{0}, pauses{0},
            wakeups{0}, unsent{0};
    } counters;
    std::atomic<Duration::rep> connect_time{0}; // both: atomic

private:
    enum class Status { connecting, up, down };

    Task<> listen(Context ctx);
    Task<> make_room(Context ctx);
    Task<> write_all(Context ctx);
    void listener_ended(std::exception_ptr exception);
    void writer_ended(std::exception_ptr exception);
    void close_ended(std::exception_ptr exception);
    void went_up();
    void went_down(Failure failure);
    void let_go();
    void check_size(std::size_t payload_bytes) const;
    [[nodiscard]] RecordRing& make_outbox();
    /// How the names of its tasks begin.
    [[nodiscard]] std::string task_prefix() const;
    /// What the inbox did not take at once.
    [[nodiscard, gnu::cold]] bool put_aside(MessageKind kind, std::span<const std::byte> payload);
    /// True if nothing is pending any more.
    [[nodiscard]] bool push_pending();
    void drop_pending();
    void cancel_large() noexcept;
    [[nodiscard]] bool refuses_messages() const noexcept;
    [[nodiscard]] Task<> say_goodbye(Context ctx);
    void give_up_connecting();
    void set_outcome(Result<void> outcome);
    [[nodiscard]] Failure refusal() const;

    Loop& loop_;
    const LinkId id_;                                // both: constant
    const std::shared_ptr<const LinkConfig> config_; // both: constant
    const std::string endpoint_;                     // both: constant
    const std::size_t max_message_bytes_;            // both: constant

    std::unique_ptr<AnyTransport> transport_; // sidecar side
    TaskSlot* listener_ = nullptr;            // sidecar side; null: not running
    TaskSlot* writer_ = nullptr;              // sidecar side; null: not running
    TaskSlot* closer_ = nullptr;              // sidecar side; null: not running
    Timers::Timer timer_;           // sidecar side; the connect's deadline, then the last grace
    LoopEvent room_;                // sidecar side
    LoopEvent work_;                // sidecar side
    std::unique_ptr<Message> held_; // sidecar side; put while another link had filled the inbox
    struct Large {
        Block block;
        std::size_t bytes = 0;
        MessageKind kind = MessageKind::bytes;
        bool is_whole = false; // and waits for room for its record
    };
    Large large_;                    // sidecar side; a message that is filled in place
    std::optional<Failure> failure_; // sidecar side; the first cause
    std::string phase_detail_;       // sidecar side; while it connects
    bool quiesced_ = false;          // sidecar side
    bool put_anything_ = false;      // sidecar side
    bool writing_ = false;           // sidecar side
    bool close_begun_ = false, close_ended_ = false; // sidecar side
    std::optional<Failure> close_failure_;           // sidecar side
    TimePoint began_{};                              // sidecar side

    std::atomic<Status> status_{Status::connecting}; // both: atomic
    std::atomic<Phase> phase_{Phase::connecting};    // both: atomic
    std::atomic<bool> accepting_{false};             // both: atomic
    std::atomic<bool> writer_sleeps_{false};         // both: atomic
    std::mutex send_mutex_;                          // app side: one producer at a time
    // app side: guarded by send_mutex_; made by the first send
    std::unique_ptr<RecordRing> outbox_owner_;
    // app side produces under send_mutex_, sidecar side consumes
    std::atomic<RecordRing*> outbox_{nullptr};

    mutable std::mutex outcome_mutex_;
    std::optional<Result<void>> outcome_;  // both: guarded by outcome_mutex_
    std::atomic<bool> has_outcome_{false}; // both: atomic
};

} // namespace sidecar::detail
