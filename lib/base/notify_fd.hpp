// A descriptor that is readable while a condition holds, for poll, epoll, Qt and GLib.
#pragma once

namespace sidecar::detail {

/// Wraps an eventfd. Side: any thread; async-signal-safe but for construction and destruction.
class NotifyFd {
public:
    NotifyFd(); ///< throws Exception (no_resources)
    NotifyFd(const NotifyFd&) = delete;
    NotifyFd& operator=(const NotifyFd&) = delete;
    ~NotifyFd();

    [[nodiscard]] int get() const noexcept { return fd_; }
    void raise() const noexcept;
    void lower() const noexcept;

private:
    int fd_;
};

} // namespace sidecar::detail
