// A link's writer: takes what may go out of the outbox, keeps to the rate limit, hands it on.
#pragma once

#include "link/pause_meter.hpp"
#include "link/rate_limit.hpp"
#include "loop/event_loop.hpp"
#include "queue/outbox.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/context.hpp>
#include <sidecar/detail/any_transport.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/task.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace sidecar::detail {

class Connection;

/// Owned by the link, over all its connections, so that a reconnect does not fill the rate limit.
/// Invariant: one run at a time.
class Writer {
public:
    /// Lifetime: `outbox` and `loop` outlive it.
    Writer(Outbox& outbox, const std::optional<RateLimit>& limit, EventLoop& loop)
        : outbox_{outbox},
          loop_{loop},
          limiter_{limit ? std::make_unique<RateLimiter>(*limit) : nullptr}
    {
    }

    // --- sidecar side
    /// Writes until it is cancelled, or the transport throws; Outbox::give_up() then follows.
    /// Lifetime: `transport` and `connection` outlive it.
    [[nodiscard]] Task<> run(Context ctx, AnyTransport& transport, Connection& connection);
    /// Looks again for something to write.
    void wake() { work_.set(); }

    // --- both
    [[nodiscard]] std::uint64_t writes() const noexcept { return writes_.load(); }
    /// For the rate limit.
    [[nodiscard]] PauseMeter::Pauses waits() const noexcept { return waits_.pauses(loop_.now()); }

private:
    [[nodiscard]] std::optional<Batch> allowed(const Batch& batch);
    [[nodiscard]] Task<> wait_for_rate(Context ctx);

    Outbox& outbox_;                             // sidecar side
    EventLoop& loop_;                            // both: for now()
    const std::unique_ptr<RateLimiter> limiter_; // sidecar side; null: no limit
    LoopEvent work_;                             // sidecar side
    bool is_refused_ = false;                    // sidecar side; the wait is one still
    std::atomic<std::uint64_t> writes_{0};       // both: atomic
    PauseMeter waits_;                           // both
};

} // namespace sidecar::detail
