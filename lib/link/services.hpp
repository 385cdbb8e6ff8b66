// What a link needs of the run that it belongs to.
#pragma once

#include "base/journal.hpp"
#include "base/stop_request.hpp"
#include "base/wait_point.hpp"
#include "loop/event_loop.hpp"
#include "queue/inbox.hpp"

#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// The links that wait for free space in the inbox. Owned by the run. Side: sidecar.
class SpaceWaiters {
public:
    /// An entry in the list for as long as it lives: also a wait that is cancelled, or whose
    /// coroutine is freed, leaves nothing behind. Lifetime: `event` outlives it.
    class Entry {
    public:
        Entry(SpaceWaiters& list, LoopEvent& event) : list_{list}, event_{event}
        {
            list_.waiters_.push_back(&event_);
        }
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;
        ~Entry() { std::erase(list_.waiters_, &event_); }

    private:
        SpaceWaiters& list_; // sidecar side
        LoopEvent& event_;   // sidecar side
    };
    void wake_all()
    {
        for (auto* event : std::exchange(waiters_, {}))
            event->set();
    }

private:
    std::vector<LoopEvent*> waiters_; // sidecar side
};

/// The parts of a run that its links share. Owned by the run, outlives every link.
struct LinkServices {
    EventLoop& loop;          // sidecar side, but for post()
    Inbox& inbox;             // both
    Journal& journal;         // both
    const StopRequest& stop;  // both
    const QueueLimits outbox; // both: constant
    WaitPoint written{};      // both: senders wait here for space in an outbox, or for its end
    WaitPoint progressed{};   // both: starts, calls and ends are waited for here
    SpaceWaiters space{};     // sidecar side
    std::atomic<std::uint64_t> discarded{0};   // both: atomic; messages that came too late
    std::function<void()> something_changed{}; // sidecar side; a stage of the stop may be over
};

} // namespace sidecar::detail
