// Why nothing can come any more.
#pragma once

#include <sidecar/error.hpp>

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

namespace sidecar::detail {

/// Why nothing can come any more although the run goes on: no link is up or about to be. Owned by the
/// inbox; the loop sets it and takes it back, receivers say it once all messages are taken.
class TerminalFailure {
public:
    /// Side: sidecar.
    void set(std::optional<Failure> why)
    {
        std::lock_guard lock{mutex_};
        why_ = std::move(why);
        is_set_.store(why_.has_value(), std::memory_order_seq_cst);
    }
    /// Side: any thread.
    [[nodiscard]] bool is_set() const noexcept { return is_set_.load(std::memory_order_seq_cst); }
    [[nodiscard]] std::optional<Failure> why() const
    {
        std::lock_guard lock{mutex_};
        return why_;
    }

private:
    mutable std::mutex mutex_;
    std::optional<Failure> why_;      // both: guarded by mutex_
    std::atomic<bool> is_set_{false}; // both: atomic
};

} // namespace sidecar::detail
