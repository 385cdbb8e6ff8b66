// What happened to links, in order with the messages.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace sidecar::detail {

/// An Event without a message. What it does not say is not set.
struct LinkEvent {
    std::uint64_t position; // in the ring: it comes before the record there
    Event::Kind kind;
    LinkId link;
    std::optional<Failure> failure;

    std::uint32_t connection = 0;
    Continuity continuity = Continuity::first;
    GapReason gap_reason = GapReason::none;
    TimePoint at{};
    WallTime wall_time{};
    std::optional<TimePoint> next_attempt{};
    std::uint64_t missing = 0;
    Duration data_age{};
    std::string protocol{};
};

/// The few events that stand beside the ring, each with the position before which it happened. Owned
/// by the inbox. The loop adds, whoever consumes takes; to see that there is none, which is the rule,
/// costs one load. Invariant: positions grow from front to back.
class LinkEvents {
public:
    /// Side: sidecar.
    void push(LinkEvent event)
    {
        std::lock_guard lock{mutex_};
        events_.push_back(std::move(event));
        count_.store(events_.size(), std::memory_order_seq_cst);
    }

    /// Side: any thread.
    [[nodiscard]] bool has_any() const noexcept
    {
        return count_.load(std::memory_order_seq_cst) != 0;
    }

    /// Whether the first comes before the record at `position`. Side: app, who consumes.
    [[nodiscard]] bool is_due(std::uint64_t position) const
    {
        if (!has_any()) [[likely]]
            return false;
        std::lock_guard lock{mutex_};
        return events_.front().position <= position;
    }
    /// Only where one is due.
    [[nodiscard]] LinkEvent take()
    {
        std::lock_guard lock{mutex_};
        auto event = std::move(events_.front());
        events_.pop_front();
        count_.store(events_.size(), std::memory_order_seq_cst);
        return event;
    }
    /// For what was taken last and is for the next call.
    void put_back(LinkEvent event)
    {
        std::lock_guard lock{mutex_};
        events_.push_front(std::move(event));
        count_.store(events_.size(), std::memory_order_seq_cst);
    }

private:
    mutable std::mutex mutex_;
    std::deque<LinkEvent> events_;      // both: guarded by mutex_
    std::atomic<std::size_t> count_{0}; // both: atomic, written with mutex_ held
};

/// Why nothing can come any more although the run goes on: no link is up or about to be. Owned by the
/// inbox; the loop sets it and takes it back, receivers say it once all messages are taken.
class TerminalFailure {
public:
    /// Side: sidecar.
    void set(std::optional<Failure> why)
    {
        std::lock_guard lock{mutex_};
        why_ = std::move(why);
        is_set_.store(why_.has_value(), std::memory_order_seq_cst);
    }
    /// Side: any thread.
    [[nodiscard]] bool is_set() const noexcept { return is_set_.load(std::memory_order_seq_cst); }
    [[nodiscard]] std::optional<Failure> why() const
    {
        std::lock_guard lock{mutex_};
        return why_;
    }

private:
    mutable std::mutex mutex_;
    std::optional<Failure> why_;      // both: guarded by mutex_
    std::atomic<bool> is_set_{false}; // both: atomic
};

} // namespace sidecar::detail
