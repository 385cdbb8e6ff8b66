// A descriptor of the application that is readable while it can receive, for its event loop.
#pragma once

#include "base/notify_fd.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

namespace sidecar::detail {

/// Keeps an application's descriptor readable while a condition holds; without a descriptor all
/// calls cost a load. Owned by the inbox. Invariant: if the condition holds and raise() was called
/// since it began to hold, the descriptor is readable. Side: any thread.
class ReadyDescriptor {
public:
    /// Sets the descriptor. Call it once; call raise() then if the condition holds.
    void attach(std::shared_ptr<const NotifyFd> fd)
    {
        std::lock_guard lock{mutex_};
        fd_ = std::move(fd);
        is_raised_ = false;
        fd_->lower();
        present_.store(fd_.get(), std::memory_order_seq_cst);
    }
    /// Call it when the condition begins to hold.
    void raise()
    {
        if (!present_.load(std::memory_order_seq_cst)) [[likely]]
            return;
        std::lock_guard lock{mutex_};
        if (!std::exchange(is_raised_, true))
            fd_->raise();
    }
    /// Call it when the condition holds for ever. Side: any signal handler too.
    void raise_for_good() const noexcept
    {
        if (const auto* fd = present_.load(std::memory_order_seq_cst))
            fd->raise_late();
    }
    /// Call it when the condition may have ended; `holds` checks it.
    template <class Condition>
    void lower_unless(Condition holds)
    {
        if (!present_.load(std::memory_order_relaxed)) [[likely]]
            return;
        std::lock_guard lock{mutex_};
        if (!(is_raised_ || fd_->take_late_raise()) || holds())
            return;
        fd_->lower();
        is_raised_ = false;
        // raise_for_good() takes no mutex: lower() may have undone it.
        if (holds()) {
            is_raised_ = true;
            fd_->raise();
        }
    }

private:
    std::mutex mutex_;
    std::shared_ptr<const NotifyFd> fd_;            // both: guarded by mutex_
    bool is_raised_ = false;                        // both: guarded by mutex_
    std::atomic<const NotifyFd*> present_{nullptr}; // both: atomic; fd_, never reset
};

} // namespace sidecar::detail
