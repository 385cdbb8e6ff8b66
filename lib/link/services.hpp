// What a link needs of the run that it belongs to.
#pragma once

#include "base/journal.hpp"
#include "base/stop_request.hpp"
#include "base/wait_point.hpp"
#include "loop/event_loop.hpp"
#include "queue/inbox.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

namespace sidecar::detail {

class LinkSink;

/// The parts of a run that its links share. Owned by the run, outlives every link.
struct LinkServices {
    EventLoop& loop;          // sidecar side, but for post()
    Inbox& inbox;             // both
    Journal& journal;         // both
    const StopRequest& stop;  // both
    const QueueLimits outbox; // both: constant
    WaitPoint written{};      // both: senders wait here for space in an outbox, or for its end
    WaitPoint progressed{};   // both: starts, calls and ends are waited for here
    std::vector<LinkSink*> space_waiters{};  // sidecar side; wait for free space in the inbox
    std::atomic<bool> wakes_writers{false};  // both: atomic; a sender found no memory to wake one
    std::atomic<std::uint64_t> discarded{0}; // both: atomic; messages that came too late
    std::atomic<std::uint64_t> sends_refused{0}; // both: atomic
    std::function<void()> something_changed{};   // sidecar side; a stage of the stop may be over

    /// Has each of `space_waiters` look again, once. Side: sidecar.
    void wake_space_waiters();
};

} // namespace sidecar::detail
