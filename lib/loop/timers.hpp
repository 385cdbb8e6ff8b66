// Every timer of a run, on real or on virtual time.
#pragma once

#include <sidecar/clock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

namespace sidecar::detail {

/// The time on an engine that runs on virtual time, shared by all runs on it; written by the engine.
struct VirtualNow {
    std::atomic<Duration::rep> since_start{0}; // both: atomic
    [[nodiscard]] TimePoint get() const noexcept
    {
        return TimePoint{Duration{since_start.load(std::memory_order_acquire)}};
    }
};

/// Calls back at points in time; callbacks for the same time in the order they were asked for.
/// Owned by the run's part of the loop. Side: the loop's thread, but for now().
class Timers {
public:
    /// Cancels its callback when it goes. May outlive its firing, not the Timers.
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

    /// `virtual_now`: null on real time. Through `executor` runs what fires.
    Timers(boost::asio::any_io_executor executor, const VirtualNow* virtual_now);

    /// Side: both.
    [[nodiscard]] TimePoint now() const noexcept;

    /// TimePoint::max() never fires.
    [[nodiscard]] Timer at(TimePoint when, std::function<void()> callback);

    /// Gives up all callbacks and the loop's timer, before the loop goes.
    void close() noexcept;

    /// When the next one is due; TimePoint::max(): there is none.
    [[nodiscard]] TimePoint next() const noexcept
    {
        return queue_.empty() ? TimePoint::max() : queue_.begin()->first;
    }
    /// Fires what is due. On real time it does so by itself.
    void fire_due();

private:
    struct Entry {
        std::uint64_t id;
        std::function<void()> callback;
    };
    void arm();

    const VirtualNow* virtual_now_;                   // both: constant
    std::optional<boost::asio::steady_timer> driver_; // sidecar side
    std::multimap<TimePoint, Entry> queue_;           // sidecar side
    TimePoint armed_for_ = TimePoint::max();          // sidecar side
    std::uint64_t last_id_ = 0;                       // sidecar side
};

} // namespace sidecar::detail
