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
#include <utility>
#include <vector>

namespace sidecar::detail {

/// Waits for free space in the inbox. Side: sidecar.
class SpaceWaiter {
public:
    virtual void space_came() = 0;

protected:
    ~SpaceWaiter() = default;

private:
    friend class SpaceWaiters;
    bool is_listed_ = false; // sidecar side
};

/// The links that wait for free space in the inbox. Owned by the run. Side: sidecar.
class SpaceWaiters {
public:
    /// Its space_came() is called once. Lifetime: until then, or remove().
    void add(SpaceWaiter& waiter)
    {
        if (waiter.is_listed_)
            return;
        waiters_.push_back(&waiter);
        waiter.is_listed_ = true;
    }
    /// Without effect on one that does not wait. Its last owner may then be the application.
    void remove(SpaceWaiter& waiter) noexcept
    {
        if (std::exchange(waiter.is_listed_, false))
            std::erase(waiters_, &waiter);
    }
    void wake_all()
    {
        for (auto* waiter : std::exchange(waiters_, {})) {
            waiter->is_listed_ = false;
            waiter->space_came();
        }
    }

private:
    std::vector<SpaceWaiter*> waiters_; // sidecar side
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
