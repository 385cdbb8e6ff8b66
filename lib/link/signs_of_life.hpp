// When something last came from a link's peer.
#pragma once

#include <sidecar/clock.hpp>

#include <atomic>

namespace sidecar::detail {

/// Points in time, on the sidecar's clock. Owned by the link's KeepAlive; written by the sidecar side
/// with one store each, read by any thread.
class SignsOfLife {
public:
    class Sign {
    public:
        void note(TimePoint now) noexcept
        {
            at_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
        }
        [[nodiscard]] TimePoint at() const noexcept
        {
            return TimePoint{Duration{at_.load(std::memory_order_relaxed)}};
        }

    private:
        std::atomic<Duration::rep> at_{TimePoint::min().time_since_epoch().count()}; // both: atomic
    };

    Sign up;      ///< the connection came up
    Sign heard;   ///< bytes came
    Sign data;    ///< a message came
    Sign resumed; ///< reading went on after a pause
};

} // namespace sidecar::detail
