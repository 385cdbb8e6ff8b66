// How a link's connecting ended: known once, waited for by who opened it.
#pragma once

#include <sidecar/error.hpp>

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

namespace sidecar::detail {

/// Set once: connected, or why not. Owned by its link. Side: any thread.
class Outcome {
public:
    /// False: it was set before, and stays what it was.
    bool set(Result<void> outcome)
    {
        {
            std::lock_guard lock{mutex_};
            if (outcome_)
                return false;
            outcome_ = std::move(outcome);
        }
        is_known_.store(true);
        return true;
    }
    [[nodiscard]] bool is_known() const noexcept { return is_known_.load(); }
    /// Only once it is known.
    [[nodiscard]] Result<void> get() const
    {
        std::lock_guard lock{mutex_};
        return *outcome_;
    }

private:
    mutable std::mutex mutex_;
    std::optional<Result<void>> outcome_; // both: guarded by mutex_
    std::atomic<bool> is_known_{false};   // both: atomic
};

} // namespace sidecar::detail
