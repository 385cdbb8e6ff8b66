// std::thread with a bounded join: what it runs may be over while a thread_local of the user's
// still blocks in its destructor.
#pragma once

#include <sidecar/clock.hpp>

#include <functional>
#include <pthread.h>

namespace sidecar::detail {

/// Side: app, one thread at a time.
class JoinableThread {
public:
    JoinableThread() noexcept = default;
    JoinableThread(const JoinableThread&) = delete;
    JoinableThread& operator=(const JoinableThread&) = delete;
    /// Lets go of a thread that was not joined.
    ~JoinableThread() { detach(); }

    /// The thread takes no signals that are sent to the process. Throws std::system_error.
    void start(std::function<void()> function);
    /// False when the deadline passed first; the thread can still be joined then.
    [[nodiscard]] bool join_until(TimePoint deadline) noexcept;
    void detach() noexcept;

private:
    ::pthread_t thread_{};
    bool is_joinable_ = false;
};

} // namespace sidecar::detail
