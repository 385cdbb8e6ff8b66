// A descriptor that is readable while a condition holds, for poll, epoll, Qt and GLib.
#pragma once

#include <atomic>

namespace sidecar::detail {

/// Wraps an eventfd. Side: any thread; async-signal-safe except construction and destruction.
class NotifyFd {
public:
    NotifyFd(); ///< throws Exception (no_resources)
    NotifyFd(const NotifyFd&) = delete;
    NotifyFd& operator=(const NotifyFd&) = delete;
    ~NotifyFd();

    [[nodiscard]] int get() const noexcept { return fd_; }
    void raise() const noexcept;
    void lower() const noexcept;
    /// Like raise(), for a run that may have ended while a later one uses the descriptor: the later
    /// one lowers it, see take_late_raise().
    void raise_late() const noexcept
    {
        raise();
        is_raised_late_.store(true);
    }
    /// True once after raise_late().
    [[nodiscard]] bool take_late_raise() const noexcept { return is_raised_late_.exchange(false); }

private:
    int fd_;                                          // both: constant
    mutable std::atomic<bool> is_raised_late_{false}; // both: atomic
};

} // namespace sidecar::detail
