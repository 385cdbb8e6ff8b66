// When the messages in the ring have arrived.
#pragma once

#include <sidecar/clock.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

namespace sidecar::detail {

/// Times beside the ring, each with the position from which on it holds: not one for each message, but
/// one for each moment in which some were published, and of moments close together only the first. The
/// further a consumer falls behind, the coarser they are; so there are at most `most`. A time told is
/// never too late, and too early by `finest` or a five hundredth part of what waits. Owned by the inbox.
/// The loop notes, whoever consumes asks. Invariant: positions and times grow from front to back.
class Arrivals {
public:
    static constexpr std::size_t most = 1024;

    /// On virtual time nothing is too fine.
    explicit Arrivals(bool is_virtual) noexcept
        : finest_{is_virtual ? Duration{1} : Duration{std::chrono::microseconds{100}}}
    {
    }
    Arrivals(const Arrivals&) = delete;
    Arrivals& operator=(const Arrivals&) = delete;

    // --- sidecar side
    /// What is published from now on, from `position` on, has arrived at `now`. Mostly two compares.
    void note(std::uint64_t position, TimePoint now)
    {
        if (now >= producer_next_) [[unlikely]]
            add(position, now);
    }

    // --- app side, who consumes
    /// When the record at `position` has arrived, which is published; positions grow from call to call.
    [[nodiscard]] TimePoint of(std::uint64_t position)
    {
        if (position < consumer_.until
            || (consumer_.is_last && version_.load(std::memory_order_acquire) == consumer_.version))
            return consumer_.at;
        return look_up(position);
    }

    // --- both
    /// Of the record at `position`, or of a later one; empty: nothing is known of it.
    [[nodiscard]] std::optional<TimePoint> peek(std::uint64_t position) const;

private:
    struct Stamp {
        std::uint64_t position;
        TimePoint at;
    };
    struct alignas(64) Consumer {
        std::uint64_t until = 0;   // `at` holds for what stands before that,
        bool is_last = false;      // or for all that follows,
        std::uint64_t version = 0; // as long as there is no further stamp than then
        TimePoint at{};
    };

    void add(std::uint64_t position, TimePoint now);
    void thin_out();
    [[nodiscard]] TimePoint look_up(std::uint64_t position);

    const Duration finest_;     // both: constant
    TimePoint producer_next_{}; // sidecar side; a stamp before that is not worth it
    Duration spacing_{};        // sidecar side; of stamps at present

    mutable std::mutex mutex_;
    std::deque<Stamp> stamps_; // both: guarded by mutex_; the first holds for what is read
    std::atomic<std::uint64_t> version_{0}; // both: atomic, written with mutex_ held
    Consumer consumer_;                     // app side, who consumes
};

} // namespace sidecar::detail
