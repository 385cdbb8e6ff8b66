// std::thread with a bounded join: its function may be over while a thread_local of the user's still
// blocks in its destructor.
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

/// A thread that can be joined until a deadline, or left behind as an orphan. The process counts its
/// orphans. Side: app, but where a call says otherwise.
class JoinableThread {
public:
    JoinableThread() noexcept = default;
    JoinableThread(const JoinableThread&) = delete;
    JoinableThread& operator=(const JoinableThread&) = delete;
    /// Lets go of a thread that was not joined.
    ~JoinableThread();

    /// `function` keeps this object alive and calls note_end() last. The thread takes no signals that
    /// are sent to the process. Throws std::system_error.
    void start(std::function<void()> function);
    /// Side: the thread itself.
    void note_end() noexcept;
    /// Side: any.
    [[nodiscard]] bool has_ended() const noexcept { return has_ended_.load(); }
    /// False when the deadline passed first. Side: any.
    [[nodiscard]] bool wait_for_end(TimePoint deadline);
    /// True: it is joined, by this call or another, or was left. False when the deadline passed first; it
    /// can still be joined then.
    [[nodiscard]] bool join_until(TimePoint deadline) noexcept;
    /// Nobody waits for the thread from now on. False: it was joined before.
    bool orphan() noexcept;
    [[nodiscard]] std::thread::id id() const noexcept { return id_.load(); }

    /// Orphans of this process that have not ended. Side: any.
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
};

} // namespace sidecar::detail
