// The runs of one feed, one after the other, and the calls that use them.
#pragma once

#include "feed/run.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace sidecar::detail {

/// Owns the present run, and those before it until no call can use them any more. A call finds its
/// run through an atomic pointer and is counted while it lasts, not through a lock or a shared_ptr:
/// request_stop() must be async-signal-safe, and send() should cost no reference count that threads
/// share. Calls count under the generation in which they began; generations take turns with two
/// counters, so a run that was replaced is freed soon even when calls never cease.
/// Owned by the Feed. Side: app, any thread.
class RunRegistry {
public:
    /// Finds the present run for a call, which keeps it from being freed until it counts `calls` down,
    /// with memory_order_release. Null: there was none yet. Signal-safe.
    [[nodiscard]] Run* begin_call(std::atomic<int>*& calls) const noexcept;

    /// While it is held no run is replaced, and start()s take turns.
    [[nodiscard]] std::unique_lock<std::mutex> lock() const { return std::unique_lock{mutex_}; }
    /// With the lock held.
    [[nodiscard]] const std::shared_ptr<Run>& present() const noexcept { return present_; }
    /// With the lock held. Returns the runs that nobody can reach any more, to be freed without the
    /// lock: what the user's coroutines held may call us. Throws bad_alloc, and has done nothing
    /// then.
    [[nodiscard]] std::vector<std::shared_ptr<Run>> replace(std::shared_ptr<Run> run);
    /// With the lock held: the descriptor that is readable while something can be received, which
    /// stays the same over restarts; null: nobody asked for it.
    [[nodiscard]] const std::shared_ptr<NotifyFd>& readable() const noexcept { return readable_; }
    /// Without the lock. Throws Exception (no_resources).
    [[nodiscard]] const NotifyFd& make_readable();
    /// In a forked child, whose parent has the threads, locks and descriptors: lets go of all
    /// without touching it.
    void leak() noexcept;

    /// How many stops were requested so far. A start() that finds more of them once its run is there
    /// than when it was called stops that run: a request that came between is not lost. Signal-safe.
    [[nodiscard]] std::uint32_t stop_requests() const noexcept { return stop_requests_.load(); }
    /// Before the run is looked up that is to stop. Signal-safe.
    void count_stop_request() noexcept { stop_requests_.fetch_add(1); }

private:
    mutable std::mutex mutex_;
    std::shared_ptr<Run> present_;       // app side: guarded by mutex_
    std::shared_ptr<NotifyFd> readable_; // app side: guarded by mutex_
    /// Replaced in this generation: calls of this and of the one before may use them.
    std::vector<std::shared_ptr<Run>> recent_; // app side: guarded by mutex_
    /// Replaced before: only calls of generations before this one may use them.
    std::vector<std::shared_ptr<Run>> older_;     // app side: guarded by mutex_
    std::atomic<Run*> current_{nullptr};          // app side: atomic
    std::atomic<std::uint64_t> generation_{0};    // app side: atomic
    std::atomic<std::uint32_t> stop_requests_{0}; // app side: atomic
    mutable std::atomic<int> calls_[2]{}; // app side: atomic; under way, by their generation
};

} // namespace sidecar::detail
