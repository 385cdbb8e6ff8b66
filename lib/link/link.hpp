// One connection: its listener, writer and closer, and what the application may ask of it.
#pragma once

#include "link/intake.hpp"
#include "link/life.hpp"
#include "link/outcome.hpp"
#include "link/phase_note.hpp"
#include "link/services.hpp"
#include "queue/outbox.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/send_options.hpp>

#include <array>
#include <atomic>
#include <exception>
#include <memory>
#include <optional>
#include <string>

namespace sidecar::detail {

class LinkImpl;

/// Who is told how a link's life goes on. Side: sidecar.
class LinkObserver {
public:
    /// It is down, for this reason.
    virtual void link_went_down(LinkImpl& link, const Failure& why) = 0;
    /// It is down, and nothing of it runs any more: its memory may go.
    virtual void link_ended(LinkImpl& link) = 0;

protected:
    ~LinkObserver() = default;
};

/// Runs a transport: a listener that connects and reads, a writer, and at the stop a closer, each a
/// task of the loop. `Life` decides what follows from what happens to them; `Intake` takes what is
/// read, `Outbox` holds what is to be written. Shared by the run's registry and by the application's
/// Link; the registry keeps it for as long as one of its tasks runs.
class LinkImpl final : public PhaseListener, public std::enable_shared_from_this<LinkImpl> {
public:
    /// Lifetime: `services` and `observer` outlive it.
    LinkImpl(LinkServices& services, LinkObserver& observer, LinkId id,
             std::shared_ptr<const LinkConfig> config, std::string endpoint,
             const QueueLimits& outbox);
    LinkImpl(const LinkImpl&) = delete;
    LinkImpl& operator=(const LinkImpl&) = delete;

    // --- sidecar side
    /// Spawns the listener, which connects first.
    void begin(TimePoint deadline);
    /// Refuses further sends; lets a paused listener read on, into nothing.
    void quiesce();
    [[nodiscard]] bool has_unsent() const noexcept { return outbox_.has_unsent(); }
    [[nodiscard]] bool is_drained() const noexcept { return !is_up() || !has_unsent(); }
    void begin_close(TimePoint deadline);
    [[nodiscard]] const Life& life() const noexcept { return life_; }
    void abort() noexcept;
    void destroy_transport() noexcept { transport_.reset(); }
    void count_unsent();
    /// What still runs ends with the connection, so that cancelling it is nothing to report.
    void expect_tasks_to_end() noexcept;
    void set_phase(Phase phase, std::string_view detail) override { note_.set(phase, detail); }
    void set_protocol(std::string_view protocol) override { note_.set_protocol(protocol); }

    // --- app side, any thread
    /// Timeout zero: does not wait. The clock is asked only where there is something to wait for.
    Result<void> send(MessageKind kind, std::span<const std::byte> payload,
                      const SendOptions& options);
    Result<void> flush(TimePoint deadline);
    [[nodiscard]] const LinkConfig& config() const noexcept { return *config_; }

    // --- both
    /// Lets go of those who wait for a loop that will not answer.
    void release_senders() { outbox_.close(); }
    [[nodiscard]] LinkId id() const noexcept { return id_; }
    [[nodiscard]] bool is_up() const noexcept { return gauges_.is_up.load(); }
    [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }
    [[nodiscard]] std::string protocol() const { return note_.protocol(); }
    /// The number of the latest connection that came up.
    [[nodiscard]] std::uint32_t connection() const noexcept { return gauges_.connection.load(); }
    [[nodiscard]] std::string describe() const;
    [[nodiscard]] const Outbox& outbox() const noexcept { return outbox_; }
    [[nodiscard]] Intake::Pauses pauses() const noexcept { return intake_.pauses(); }
    /// What others see of it.
    struct Gauges { // both: atomic
        std::atomic<std::uint64_t> reads{0}, writes{0}, wakeups{0}, unsent{0};
        std::atomic<Duration::rep> connect_time{0};
        std::atomic<std::uint32_t> connection{0};
        std::atomic<bool> is_up{false};
    };
    [[nodiscard]] const Gauges& gauges() const noexcept { return gauges_; }

private:
    enum Role { listener, writer, closer };

    void spawn(Role role, const char* name, TimePoint deadline, Task<> (LinkImpl::*run)(Context),
               void (LinkImpl::*ended)(std::exception_ptr));
    Task<> listen(Context ctx);
    Task<> connect(Context ctx);
    Task<> read_all(Context ctx);
    Task<> write_all(Context ctx);
    Task<> say_goodbye(Context ctx);
    void listener_ended(std::exception_ptr exception);
    void writer_ended(std::exception_ptr exception);
    void closer_ended(std::exception_ptr exception);
    void went_up();
    void give_up_connecting();
    void await_last_words(unsigned windows);
    void set_outcome(Result<void> outcome);
    void note_end_of_tasks();
    [[nodiscard]] Failure refusal() const;
    [[nodiscard]] Failure too_big(std::size_t payload_bytes) const;

    LinkServices& services_;                         // both
    LinkObserver& observer_;                         // sidecar side
    const LinkId id_;                                // both: constant
    const std::shared_ptr<const LinkConfig> config_; // both: constant
    const std::string endpoint_;                     // both: constant

    std::unique_ptr<AnyTransport> transport_; // sidecar side
    std::array<TaskSlot*, 3> tasks_{};        // sidecar side; by role; null: not running
    Life life_;                               // sidecar side
    Intake intake_;                           // sidecar side, but for its pauses
    Outbox outbox_;                           // both
    LoopEvent work_;                          // sidecar side; the writer sleeps here
    Timers::Timer timer_;                     // sidecar side; for connecting, then for last words

    PhaseNote note_;  // both
    Outcome outcome_; // both
    Gauges gauges_;   // both
};

} // namespace sidecar::detail
