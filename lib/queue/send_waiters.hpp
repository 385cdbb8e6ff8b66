// The senders that wait for room in an outbox, asleep or for the event `writable`.
#pragma once

#include "base/wait_queue.hpp"

#include <sidecar/send_options.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <optional>

namespace sidecar::detail {

/// Holds who waits for an outbox: threads in send() and flush(), which sleep on the WaitQueue, and
/// senders that were refused with `full`, for which it calls on_room. Owned by the outbox.
class SendWaiters {
public:
    explicit SendWaiters(WaitQueue& sleepers) noexcept : sleepers_{sleepers} {}

    /// Wakes the threads that sleep. Side: any thread.
    void wake() noexcept { sleepers_.wake(); }

    /// Records that a message of this size was refused. Returns whether it is the only such wish.
    /// With the outbox's mutex held.
    bool want(std::size_t payload_bytes, Priority priority) noexcept
    {
        auto& wish = wishes_[static_cast<std::size_t>(priority)];
        wish = std::max(wish.value_or(0), payload_bytes);
        return !has_wish_.exchange(true, std::memory_order_relaxed);
    }
    /// Side: any thread; the sidecar side sees each wish at the latest when its sender wakes it.
    [[nodiscard]] bool has_wish() const noexcept
    {
        return has_wish_.load(std::memory_order_relaxed);
    }
    /// Removes the wishes for which `has_room(payload_bytes, priority)` holds. Returns whether there
    /// were any. With the outbox's mutex held.
    template <class HasRoom>
    [[nodiscard]] bool grant(HasRoom has_room) noexcept
    {
        bool is_granted = false;
        for (const auto priority : {Priority::normal, Priority::high})
            if (auto& wish = wishes_[static_cast<std::size_t>(priority)];
                wish && has_room(*wish, priority)) {
                wish.reset();
                is_granted = true;
            }
        has_wish_.store(wishes_[0] || wishes_[1], std::memory_order_relaxed);
        return is_granted;
    }

    /// Called when a wish is granted. Side: sidecar.
    std::function<void()> on_room;

private:
    WaitQueue& sleepers_; // both
    /// For each priority: the largest message that was refused.
    std::array<std::optional<std::size_t>, 2> wishes_{}; // both: guarded by the outbox's mutex
    std::atomic<bool> has_wish_{false};                  // both: atomic
};

} // namespace sidecar::detail
