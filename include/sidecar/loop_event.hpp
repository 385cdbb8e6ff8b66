// A flag that a coroutine on the loop can wait for.
#pragma once

#include <sidecar/detail/export.hpp>

#include <boost/asio/awaitable.hpp>

#include <cstddef>
#include <memory>

namespace sidecar {

/// Auto-reset event for one waiting coroutine. A set() without a waiter is kept for the next
/// wait(). Side: the loop's thread only. Allocates nothing beyond the coroutine's own frame.
class SIDECAR_API LoopEvent {
public:
    LoopEvent() noexcept;
    LoopEvent(const LoopEvent&) = delete;
    LoopEvent& operator=(const LoopEvent&) = delete;
    ~LoopEvent();

    /// Resumes the waiter, by way of the loop's queue, or is remembered.
    void set();
    /// Errors (thrown): misuse while another coroutine waits.
    /// Cancellation: ends the wait by throwing operation_aborted; the event stays usable.
    [[nodiscard]] boost::asio::awaitable<void> wait();

private:
    struct Waiter;
    void finish(boost::system::error_code ec);

    bool is_set_ = false;
    bool has_waiter_ = false;
    alignas(std::max_align_t) std::byte storage_[64];
};

} // namespace sidecar
