// Watches whether a link's peer is there: asks it, and says when it gives no sign of life.
#pragma once

#include "base/latency_histogram.hpp"
#include "link/heartbeats.hpp"
#include "link/liveness.hpp"
#include "link/signs_of_life.hpp"
#include "loop/event_loop.hpp"

#include <sidecar/event.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

namespace sidecar::detail {

/// What a KeepAlive has its link do, and asks it. Side: sidecar.
class KeepAliveLink {
public:
    /// Puts the question, in the background; KeepAlive::asked_written() says when it is written.
    virtual void ask_peer() = 0;
    /// `stale` or `fresh`.
    virtual void tell_data(Event::Kind kind, Duration data_age) = 0;
    /// Ends the connection at once, with Error::unresponsive. Without effect while it is being
    /// closed.
    virtual void drop(FailureDetails why) = 0;
    [[nodiscard]] virtual bool is_reading_paused() const noexcept = 0;
    /// Grows with all that the system takes from us.
    [[nodiscard]] virtual std::uint64_t written() const noexcept = 0;
    /// What is posted to the loop holds it.
    [[nodiscard]] virtual std::shared_ptr<void> keep() = 0;

protected:
    ~KeepAliveLink() = default;
};

/// Drives a LivenessMonitor: keeps its timer, has the reader run before anything is judged, and
/// measures round trips. Owned by the link, over all its connections. Invariant: between down() and
/// the next up() it does nothing and has no timer.
class KeepAlive {
public:
    using Payload = std::array<std::byte, 8>;

    /// Lifetime: `loop` and `link` outlive it.
    KeepAlive(EventLoop& loop, KeepAliveLink& link, const Liveness& options, bool can_ping);

    // --- sidecar side
    void up();
    void down() noexcept;
    /// Messages have come that are no answers to heartbeats.
    void data_came()
    {
        signs_.data.note(loop_.turn_began());
        if (monitor_.is_stale()) [[unlikely]]
            look_soon();
    }
    void asked_written();
    /// The answer to a ping with this payload has come.
    void ponged(std::span<const std::byte> payload);
    [[nodiscard]] Payload ping_payload() const noexcept;
    /// Null: the peer is asked by the transport's ping.
    [[nodiscard]] Heartbeats* heartbeats() noexcept { return heartbeats_.get(); }
    /// Null: the same, or there is no question.
    [[nodiscard]] const Heartbeat* heartbeat() const noexcept
    {
        return heartbeats_ ? &heartbeats_->message() : nullptr;
    }
    [[nodiscard]] SignsOfLife& signs() noexcept { return signs_; }

    // --- both
    /// Empty: the link is not up.
    [[nodiscard]] std::optional<Duration> data_age() const noexcept;
    void add_round_trips(LatencyHistogram& to) const;
    [[nodiscard]] std::uint64_t pings() const noexcept { return counts_.pings.load(); }
    [[nodiscard]] std::uint64_t drops() const noexcept { return counts_.drops.load(); }

private:
    /// The latest that was put, whether it is still waited for or not.
    struct Question {
        std::uint64_t number = 0;
        TimePoint from{}; ///< when it was written, or else begun
        bool is_unanswered = false;
    };
    struct Counts { // both: atomic
        std::atomic<std::uint64_t> pings{0}, drops{0};
        std::atomic<bool> is_up{false};
    };

    void arm(TimePoint when);
    void look_soon();
    void look_after(unsigned turns);
    void look();
    [[nodiscard]] bool puts_off(TimePoint now);
    [[nodiscard]] bool act(const LivenessMonitor::Verdict& verdict);
    void answered();
    [[nodiscard]] static FailureDetails explain(const LivenessMonitor::Verdict& verdict);

    EventLoop& loop_;                        // sidecar side, but for now()
    KeepAliveLink& link_;                    // sidecar side
    LivenessMonitor monitor_;                // sidecar side
    std::unique_ptr<Heartbeats> heartbeats_; // sidecar side
    Timers::Timer timer_;                    // sidecar side
    TimePoint due_{};                        // sidecar side; when timer_ is to fire
    unsigned put_off_count_ = 0;             // sidecar side
    std::uint64_t generation_ = 0;           // sidecar side; what was posted before is out of date
    Question question_;                      // sidecar side
    SignsOfLife signs_;                      // both
    Counts counts_;                          // both
    mutable std::mutex mutex_;
    LatencyHistogram round_trips_; // both: guarded by mutex_
};

} // namespace sidecar::detail
