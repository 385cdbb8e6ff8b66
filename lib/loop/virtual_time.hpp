// When virtual time may jump: the application's threads that wait for it to pass.
#pragma once

#include "base/wait_point.hpp"
#include "loop/timers.hpp"

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// Counts the threads of the application that sleep on virtual time, and wakes each when its time
/// has come. Owned by the loop. Time may jump only while at least one is counted: who computes may
/// still do something at the present moment.
class VirtualSleepers {
public:
    explicit VirtualSleepers(Timers& timers) noexcept : timers_{timers} {}

    /// A thread has gone to sleep. Side: sidecar.
    void add(std::shared_ptr<Ticket> ticket);
    /// A counted thread sleeps no more. Side: any thread.
    void remove_one() noexcept { count_.fetch_sub(1); }
    [[nodiscard]] bool empty() const noexcept { return count_.load() <= 0; }
    /// Before the timers go. Side: sidecar.
    void clear() noexcept { tickets_.clear(); }

private:
    Timers& timers_;            // sidecar side
    std::atomic<int> count_{0}; // both: atomic
    // sidecar side
    std::vector<std::pair<std::shared_ptr<Ticket>, Timers::Timer>> tickets_;
};

} // namespace sidecar::detail
