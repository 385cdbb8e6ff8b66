// Liveness: decides when to ping a link's peer, and when the peer counts as gone.
#pragma once

#include "base/latency_histogram.hpp"
#include "link/message_watcher.hpp"
#include "loop/event_loop.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/error.hpp>
#include <sidecar/liveness.hpp>
#include <sidecar/options.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

namespace sidecar::detail {

class LinkImpl;

/// Two clocks of one connection: for the silence of bytes and for the silence of data. "Ping" means
/// the transport's ping or the heartbeat here. Owned by the link's KeepAlive, which calls look()
/// when it is due and carries out the result. It does no I/O and reads no clock. Invariant: at most
/// one ping is unanswered.
class LivenessMonitor {
public:
    /// The facts that look() judges. A time before up(), or min(), means: not on this connection.
    struct Signs {
        TimePoint heard_at{};      ///< last bytes received
        TimePoint data_at{};       ///< last message received
        TimePoint resumed_at{};    ///< reading last resumed after a pause
        bool is_paused = false;    ///< reading is paused, so silence means nothing
        bool is_announced = true;  ///< the application knows of the connection
        std::uint64_t written = 0; ///< grows with all bytes that the system accepts
    };
    enum class What : std::uint8_t {
        wait,         ///< nothing is due before `next_look`
        ask,          ///< ping, then call asked_written()
        report_stale, ///< no data for the timeout: push `stale`
        report_fresh, ///< data arrived after `report_stale`: push `fresh`
        drop_stale,   ///< as `report_stale`, and end the connection
        drop_dead,    ///< no answer to the ping: end the connection
    };
    struct Verdict {
        What what = What::wait;
        TimePoint next_look = TimePoint::max(); ///< with `wait` only
        Duration silence{};    ///< how long nothing arrived; `report_fresh`: until the new data
        bool was_asked = true; ///< with `drop_dead`; false: the ping could not be written
    };

    LivenessMonitor(const Liveness& pings, Duration idle_timeout, OnIdle on_idle) noexcept;

    /// Starts the clocks: the connection is up.
    void up(TimePoint now) noexcept;
    /// The system has accepted the ping of the latest `ask`.
    void asked_written(TimePoint now) noexcept;
    /// Returns the next action. After any action but `wait` the caller acts and calls it again.
    [[nodiscard]] Verdict look(const Signs& signs, TimePoint now) noexcept;

    [[nodiscard]] bool is_off() const noexcept { return !asks() && !watches_data(); }
    /// Returns whether the next message needs a look() at once: for `report_fresh`, and to restart
    /// the clock.
    [[nodiscard]] bool is_stale() const noexcept { return is_stale_; }

private:
    enum class Question : std::uint8_t { none, unwritten, written };

    [[nodiscard]] bool asks() const noexcept { return ping_interval_ > Duration{}; }
    [[nodiscard]] bool watches_data() const noexcept { return idle_timeout_ > Duration{}; }
    [[nodiscard]] Verdict look_for_life(const Signs& signs, TimePoint now) noexcept;
    [[nodiscard]] Verdict look_for_data(const Signs& signs, TimePoint now) noexcept;
    [[nodiscard]] TimePoint begin_of(TimePoint last, const Signs& signs) const noexcept;

    const Duration ping_interval_;       // sidecar side; zero: never asks
    const Duration ping_timeout_;        // sidecar side
    const Duration idle_timeout_;        // sidecar side; zero: unlimited
    const bool drops_stale_;             // sidecar side
    TimePoint up_at_{};                  // sidecar side
    TimePoint asked_at_{};               // sidecar side
    TimePoint deadline_from_{};          // sidecar side; start of the timeout
    std::uint64_t written_ = 0;          // sidecar side; Signs::written at the last look
    Question question_ = Question::none; // sidecar side
    bool is_stale_ = false;              // sidecar side
    TimePoint stale_data_at_{};          // sidecar side; last message before is_stale_
};

/// Drives a LivenessMonitor: keeps its timer, measures round trips, and takes answers to heartbeats
/// out of the stream. A timer lets the reader run before it judges. A late timer only sets the next
/// one, 40 times at most: after SIGSTOP, answers still wait in the socket. Nothing is judged while
/// reading pauses. A heartbeat goes through the priority queue in a separate batch. Owned by the
/// link, over all its connections. Invariant: between down() and the next up() it sends no ping and
/// has no timer.
class KeepAlive final : public MessageWatcher {
public:
    using Payload = std::array<std::byte, 8>;

    /// Lifetime: `loop`, `link` and `options` outlive it.
    KeepAlive(EventLoop& loop, LinkImpl& link, const LinkOptions& options,
              const LinkConfig& config);

    // --- sidecar side
    void up();
    void down() noexcept;
    /// Bytes arrived.
    void on_bytes() noexcept { heard_at_ = loop_.iteration_began(); }
    /// Messages arrived.
    void on_data()
    {
        data_at_.store(loop_.iteration_began(), std::memory_order_relaxed);
        if (monitor_.is_stale()) [[unlikely]]
            look_soon();
    }
    /// The listener resumes reading after a pause.
    void on_resumed(TimePoint now) noexcept { resumed_at_ = now; }
    /// The ping or the heartbeat is written.
    void asked_written();
    /// The answer to a ping arrived.
    void ponged(std::span<const std::byte> payload);
    [[nodiscard]] Payload ping_payload() const noexcept;
    /// Empty: the transport's ping is used.
    [[nodiscard]] const std::optional<Heartbeat>& heartbeat() const noexcept { return heartbeat_; }
    [[nodiscard]] TimePoint heard_at() const noexcept { return heard_at_; }

    // MessageWatcher: recognizes answers to heartbeats
    Verdict offer(const MessageView& message) override;
    bool may_take(std::size_t payload_bytes) const override;

    // --- both
    /// Returns the time since the last message, at most since up(). Empty: no connection.
    [[nodiscard]] std::optional<Duration> data_age() const noexcept;
    void add_round_trips(LatencyHistogram& to) const;
    [[nodiscard]] std::uint64_t pings() const noexcept { return pings_.load(); }
    [[nodiscard]] std::uint64_t drops() const noexcept { return drops_.load(); }

private:
    void arm(TimePoint when);
    void look_soon();
    void look_after(unsigned turns);
    void look();
    [[nodiscard]] bool puts_off(TimePoint now);
    [[nodiscard]] bool act(const LivenessMonitor::Verdict& verdict);
    void answered();

    EventLoop& loop_;                           // sidecar side, except now()
    LinkImpl& link_;                            // sidecar side
    LivenessMonitor monitor_;                   // sidecar side
    const std::optional<Heartbeat>& heartbeat_; // sidecar side; of the link's options
    Timers::Timer timer_;                       // sidecar side
    TimePoint due_{};                           // sidecar side; when timer_ should fire
    unsigned put_off_count_ = 0;                // sidecar side
    std::uint64_t generation_ = 0;          // sidecar side; posts of an earlier one have no effect
    TimePoint asked_at_{};                  // sidecar side; ping written, or else begun
    bool is_unanswered_ = false;            // sidecar side
    TimePoint heard_at_ = TimePoint::min(); // sidecar side; bytes arrived
    TimePoint resumed_at_ = TimePoint::min();          // sidecar side
    std::atomic<TimePoint> up_at_{TimePoint::min()};   // both: atomic; min(): not up
    std::atomic<TimePoint> data_at_{TimePoint::min()}; // both: atomic; messages arrived
    std::atomic<std::uint64_t> pings_{0}, drops_{0};   // both: atomic
    mutable std::mutex mutex_;
    LatencyHistogram round_trips_; // both: guarded by mutex_
};

/// Returns the times of a link's pings: of its options, else of its transport. A `ping_interval` of
/// zero: the link does not ping. Pure.
[[nodiscard]] Liveness pings_of(const LinkOptions& options, const LinkConfig& config);
/// Checks the options. Errors: bad_options. Pure.
[[nodiscard]] Result<void> validate_liveness(const LinkOptions& options, const LinkConfig& config);

} // namespace sidecar::detail
