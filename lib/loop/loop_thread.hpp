// The thread that a loop runs on, and what becomes of it if it does not end in time.
#pragma once

#include "base/joinable_thread.hpp"
#include "base/latch.hpp"

#include <sidecar/clock.hpp>

#include <atomic>
#include <functional>
#include <thread>

namespace sidecar::detail {

/// A loop's thread: started once, then joined, or left alone to finish on state that it owns. Owned
/// by the run. Threads left alone that have not ended yet are counted in the process. Side: app,
/// one thread at a time, but where a call says otherwise.
class LoopThread {
public:
    /// `function` must own all that it touches. Throws std::system_error.
    void start(std::function<void()> function);
    /// The thread's last act. Side: sidecar.
    void end();

    /// All that it had to do is done. Side: any.
    [[nodiscard]] bool has_ended() const { return done_.try_wait(); }
    /// False when the deadline, on the real clock, passed first. Side: any.
    [[nodiscard]] bool wait_for_end(TimePoint deadline) const { return done_.wait_until(deadline); }
    /// After its end: waits for what the user's thread_locals still do. False: the deadline passed.
    [[nodiscard]] bool join_until(TimePoint deadline) noexcept
    {
        return thread_.join_until(deadline);
    }
    void leave_alone() noexcept;
    [[nodiscard]] std::thread::id id() const noexcept { return id_.load(); }

    /// Threads of this process that were left alone and have not ended. Side: any.
    [[nodiscard]] static std::uint64_t left_alone_count() noexcept;

private:
    enum class Fate { running, ended, left_alone };

    JoinableThread thread_;                 // app side
    Latch done_{1};                         // both
    std::atomic<Fate> fate_{Fate::running}; // both: atomic
    std::atomic<std::thread::id> id_{};     // both: atomic
};

} // namespace sidecar::detail
