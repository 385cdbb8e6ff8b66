// All timers of a run, on real or on virtual time.
#pragma once

#include "base/virtual_time.hpp"

#include <sidecar/clock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

namespace sidecar::detail {

/// Calls functions at points in time; those for the same time in the order of their at() calls.
/// Owned by the loop. Side: the loop's thread, except now().
class Timers {
public:
    /// Its destructor cancels the callback. May outlive the call of it, not the Timers.
    class Timer {
    public:
        Timer() = default;
        Timer(Timer&& other) noexcept { *this = std::move(other); }
        Timer& operator=(Timer&& other) noexcept;
        ~Timer() { cancel(); }
        void cancel() noexcept;

    private:
        friend class Timers;
        Timers* timers_ = nullptr;
        std::uint64_t id_ = 0;
        TimePoint when_{};
    };

    /// `time`: virtual time; null: real time. Lifetime: outlives the Timers.
    Timers(boost::asio::io_context& io, const VirtualTime* time);

    /// Side: both.
    [[nodiscard]] TimePoint now() const noexcept;

    /// Calls `callback` at `when`; at TimePoint::max() never. Throws bad_alloc.
    [[nodiscard]] Timer at(TimePoint when, std::function<void()> callback);

    /// Destroys all callbacks and the Asio timer. Call it before the io_context is destroyed.
    void close() noexcept;

    /// Calls all that are due. False: none is. The loop calls it on virtual time.
    bool fire_due();
    /// Returns when the next timer is due; TimePoint::max(): there is none.
    [[nodiscard]] TimePoint next() const noexcept
    {
        return queue_.empty() ? TimePoint::max() : queue_.begin()->first;
    }

private:
    struct Entry {
        std::uint64_t id;
        std::function<void()> callback;
    };
    void arm();

    const VirtualTime* const time_;                   // both: constant
    std::optional<boost::asio::steady_timer> driver_; // sidecar side
    std::multimap<TimePoint, Entry> queue_;           // sidecar side
    TimePoint armed_for_ = TimePoint::max();          // sidecar side
    std::uint64_t last_id_ = 0;                       // sidecar side
};

} // namespace sidecar::detail
