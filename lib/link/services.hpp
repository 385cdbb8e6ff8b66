// LinkServices: the parts of a run that its links use.
#pragma once

#include "base/journal.hpp"
#include "base/stop_request.hpp"
#include "base/wait_queue.hpp"
#include "loop/event_loop.hpp"
#include "queue/inbox.hpp"
#include "queue/topic_counters.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace sidecar::detail {

class LinkImpl;
class LinkSink;

/// The parts of a run that its links share. Owned by the run; outlives every link.
struct LinkServices {
    EventLoop& loop;                        // sidecar side, except post()
    Inbox& inbox;                           // both
    Journal& journal;                       // both
    const StopRequest& stop;                // both
    const QueueLimits outbox;               // both: constant; Options::outbox
    TopicCounters topics;                   // both
    WaitQueue written{};                    // both: send() and flush() wait here for the writers
    WaitQueue progressed{};                 // both: start(), call(), close(), stop() wait here
    std::vector<LinkSink*> space_waiters{}; // sidecar side; wait for inbox capacity
    std::atomic<bool> has_space{false};     // both: atomic; the space waiters should look again
    std::mutex to_wake_mutex{};
    bool wakes_no_more = false;                       // both: guarded by to_wake_mutex
    std::vector<std::shared_ptr<LinkImpl>> to_wake{}; // both: guarded by to_wake_mutex
    std::vector<std::shared_ptr<LinkImpl>> waking{};  // sidecar side; swapped with to_wake
    std::atomic<bool> wakes_all_writers{false};  // both: atomic; a sender had no memory to wake one
    std::atomic<std::uint64_t> discarded{0};     // both: atomic; received, not delivered
    std::atomic<std::uint64_t> sends_refused{0}; // both: atomic
    std::function<void()> something_changed{};   // sidecar side; a stage of a stop may be over

    /// Wakes the link's writer soon. Allocates nothing, mostly. Side: any.
    void wake_writer(std::shared_ptr<LinkImpl> link) noexcept;
    /// Wakes the writers of all links, without memory: what was accepted must be written. Side: any.
    void wake_all_writers() noexcept
    {
        wakes_all_writers = true;
        loop.wake();
    }
    /// Wakes the writers that senders wanted to wake. Side: sidecar.
    void wake_writers();
    /// Forgets those, and wakes none from now on: the loop has ended. Side: any.
    void wake_no_more() noexcept;
    /// Lets each of `space_waiters` look again, once. Side: sidecar.
    void wake_space_waiters();
};

} // namespace sidecar::detail
