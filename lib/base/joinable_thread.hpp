// std::thread with a bounded join: its function may be over while a thread_local of the user's still
// blocks in its destructor.
#pragma once

#include "base/latch.hpp"

#include <sidecar/clock.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <thread>

namespace sidecar::detail {

/// A thread that can be joined until a deadline, or left behind as an orphan. The process counts its
/// orphans. Side: app, but where a call says otherwise.
class JoinableThread {
public:
    JoinableThread() noexcept = default;
    JoinableThread(const JoinableThread&) = delete;
    JoinableThread& operator=(const JoinableThread&) = delete;
    /// Lets go of a thread that was not joined.
    ~JoinableThread() { detach(); }

    /// `function` keeps this object alive and calls note_end() last. The thread takes no signals that
    /// are sent to the process. Throws std::system_error.
    void start(std::function<void()> function);
    /// Side: the thread itself.
    void note_end() noexcept;
    /// Side: any.
    [[nodiscard]] bool has_ended() const { return ended_.try_wait(); }
    [[nodiscard]] bool wait_for_end(TimePoint deadline) const
    {
        return ended_.wait_until(deadline);
    }
    /// One thread at a time. False when the deadline passed first; the thread can still be joined then.
    [[nodiscard]] bool join_until(TimePoint deadline) noexcept;
    /// Nobody waits for the thread from now on. Not while another thread joins it.
    void orphan() noexcept;
    [[nodiscard]] std::thread::id id() const noexcept { return id_.load(); }

    /// Orphans of this process that have not ended. Side: any.
    [[nodiscard]] static std::uint64_t orphan_count() noexcept;

private:
    enum class State { running, ended, orphaned };
    void detach() noexcept;

    Latch ended_{1};                           // both
    std::mutex mutex_;                         // a thread may be joined before start() returns
    std::atomic<State> state_{State::running}; // both: atomic
    std::atomic<std::thread::id> id_{};        // both: atomic
    ::pthread_t thread_{};                     // app side; guarded by mutex_
    bool is_joinable_ = false;                 // app side; guarded by mutex_
};

} // namespace sidecar::detail
