// Where a link's writer sleeps: for something to write, or for its rate limit.
#pragma once

#include "base/wait_point.hpp"
#include "link/rate_limit.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/context.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/task.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace sidecar::detail {

/// Cuts a batch where the limit ends, and has the writer wait. Owned by the link, over all its
/// connections.
class Pacer {
public:
    /// Lifetime: `clock` outlives it.
    Pacer(const std::optional<RateLimit>& limit, const AppClock& clock)
        : limiter_{limit ? std::make_unique<RateLimiter>(*limit) : nullptr}, clock_{clock}
    {
    }

    // --- sidecar side
    [[nodiscard]] bool is_off() const noexcept { return !limiter_ || limiter_->is_off(); }
    /// As much of the batch as may go now, which then counts as sent. Empty: nothing, so wait().
    [[nodiscard]] std::optional<Batch> allowed(const Batch& batch);
    /// Until allowed() may give more, or wake() was called.
    [[nodiscard]] Task<> wait(Context ctx);
    /// The writer looks again for what there is to do.
    void wake() { work_.set(); }
    /// Where it sleeps while there is nothing to write.
    [[nodiscard]] LoopEvent& work() noexcept { return work_; }

    // --- both
    struct Waits {
        std::uint64_t count = 0;
        Duration total{}; ///< the present one included
    };
    [[nodiscard]] Waits waits() const noexcept;

private:
    static constexpr Duration::rep not_waiting = -1;
    class Waiting;

    const std::unique_ptr<RateLimiter> limiter_;            // sidecar side; null: no limit
    const AppClock& clock_;                                 // both
    LoopEvent work_;                                        // sidecar side
    bool is_refused_ = false;                               // sidecar side; the wait is one still
    std::atomic<std::uint64_t> count_{0};                   // both: atomic
    std::atomic<Duration::rep> total_{0};                   // both: atomic; of ended waits
    std::atomic<Duration::rep> waiting_since_{not_waiting}; // both: atomic
};

} // namespace sidecar::detail
