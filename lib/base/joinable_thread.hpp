// A thread with a bounded join: after its function has returned, a thread_local of the application
// may still block in its destructor.
#pragma once

#include <sidecar/clock.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <thread>

namespace sidecar::detail {

/// Can be joined until a deadline, or left behind as an orphan. The process counts its orphans.
/// Side: app, unless a call says otherwise.
class JoinableThread {
public:
    JoinableThread() noexcept = default;
    JoinableThread(const JoinableThread&) = delete;
    JoinableThread& operator=(const JoinableThread&) = delete;
    /// Detaches a thread that was not joined.
    ~JoinableThread();

    /// Starts the thread. `function` keeps this object alive and calls mark_ended() last. The thread
    /// takes no signals that are sent to the process, see SignalsBlocked. Throws std::system_error.
    void start(std::function<void()> function);
    /// Records that the function ends, and wakes wait_for_end(). Side: the thread itself.
    void mark_ended() noexcept;
    /// Side: any.
    [[nodiscard]] bool has_ended() const noexcept { return has_ended_.load(); }
    /// Waits for mark_ended(). False: the deadline passed first. Side: any.
    [[nodiscard]] bool wait_for_end(TimePoint deadline);
    /// Waits until the thread is joined, by this call or another, or orphaned. False: the deadline
    /// passed first; it can still be joined.
    [[nodiscard]] bool join_until(TimePoint deadline) noexcept;
    /// Detaches the thread: nobody waits for it from now on. Before start() it detaches the thread
    /// that start() will make. False: it was joined or orphaned before. Blocks: while another call
    /// joins.
    bool orphan() noexcept;
    [[nodiscard]] std::thread::id id() const noexcept { return id_.load(); }

    /// Returns how many orphans of this process have not ended. Side: any.
    [[nodiscard]] static std::uint64_t orphan_count() noexcept;

private:
    std::mutex mutex_;                   // a thread may be joined before start() returns
    std::condition_variable changed_;    // both
    std::atomic<bool> has_ended_{false}; // both: atomic; written with mutex_ held
    bool is_orphan_ = false;             // both: guarded by mutex_
    bool is_joining_ = false;            // app side: guarded by mutex_
    std::atomic<std::thread::id> id_{};  // both: atomic
    ::pthread_t thread_{};               // app side; guarded by mutex_
    bool is_joinable_ = false;           // app side; guarded by mutex_
    bool is_joined_ = false;             // app side; guarded by mutex_
    bool is_detached_ = false;           // app side; guarded by mutex_
};

} // namespace sidecar::detail
