// Every timer of a run, on real or on virtual time.
#pragma once

#include <sidecar/clock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>

namespace sidecar::detail {

/// Calls back at points in time; callbacks for the same time in the order they were asked for.
/// Owned by the loop. Side: the loop's thread, but for now().
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

    Timers(boost::asio::io_context& io, bool is_virtual);

    /// Side: both.
    [[nodiscard]] TimePoint now() const noexcept;

    /// TimePoint::max() never fires.
    [[nodiscard]] Timer at(TimePoint when, std::function<void()> callback);

    /// Gives up all callbacks and the loop's timer, before the loop goes.
    void close() noexcept;

    /// Virtual time: jumps to the next timer and fires what is due. False: there is none.
    [[nodiscard]] bool jump();

private:
    struct Entry {
        std::uint64_t id;
        std::function<void()> callback;
    };
    void fire_due();
    void arm();

    const bool is_virtual_;                           // both: constant
    std::atomic<Duration::rep> virtual_now_{0};       // both: atomic; written by the sidecar side
    std::optional<boost::asio::steady_timer> driver_; // sidecar side
    std::multimap<TimePoint, Entry> queue_;           // sidecar side
    TimePoint armed_for_ = TimePoint::max();          // sidecar side
    std::uint64_t last_id_ = 0;                       // sidecar side
};

} // namespace sidecar::detail
