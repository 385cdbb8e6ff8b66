// A flag that a coroutine on the loop can wait for.
#pragma once

#include <sidecar/detail/export.hpp>

#include <boost/asio/awaitable.hpp>

namespace sidecar {

/// Auto-reset event for one waiting coroutine. A set() without a waiter is kept for the next
/// wait(). The waiter's executor must belong to an io_context that one thread runs, as each Context
/// has it. Side: the loop's thread only.
class SIDECAR_API LoopEvent {
public:
    LoopEvent() noexcept = default;
    LoopEvent(const LoopEvent&) = delete;
    LoopEvent& operator=(const LoopEvent&) = delete;
    ~LoopEvent();

    /// Resumes the waiter through the loop's queue, or keeps the set for the next wait(). Needs no
    /// memory.
    void set() noexcept;
    /// Waits for a set().
    /// Errors (thrown): misuse while another coroutine waits; std::bad_alloc. Cancellation: ends
    /// the wait by throwing operation_aborted; the event stays usable.
    [[nodiscard]] boost::asio::awaitable<void> wait();

private:
    struct SIDECAR_LOCAL Waiter;
    class SIDECAR_LOCAL Resumer;
    void finish() noexcept;

    bool is_set_ = false;
    Waiter* waiter_ = nullptr;
};

} // namespace sidecar
