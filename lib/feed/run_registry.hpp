// RunRegistry: the successive runs of one feed, and the calls that use them.
#pragma once

#include "feed/run.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace sidecar::detail {

/// Owns the current run, and earlier ones until no call can use them. A call finds its run through
/// an atomic pointer and is counted while it lasts. Locks and shared_ptr are avoided:
/// request_stop() must be async-signal-safe, and send() should cost no reference count that threads
/// share. A call counts under the generation in which it began. Generations alternate between two
/// counters, so a replaced run is freed soon even if calls never cease. Owned by the Feed. Side:
/// app, any thread.
class RunRegistry {
public:
    /// Finds the current run for a call. The run is not freed until the caller decrements `calls`,
    /// with memory_order_release. Null: there was no run yet. Signal-safe.
    [[nodiscard]] Run* begin_call(std::atomic<int>*& calls) const noexcept;

    /// Locks the registry: meanwhile no run is replaced, and no other start() continues.
    [[nodiscard]] std::unique_lock<std::mutex> lock() const { return std::unique_lock{mutex_}; }
    /// With the lock held.
    [[nodiscard]] const std::shared_ptr<Run>& present() const noexcept { return present_; }
    /// With the lock held. Makes `run` the current one. Returns the runs that no call can reach;
    /// free them without the lock, for objects of the user's coroutines may call us. Throws
    /// bad_alloc, and has done nothing then.
    [[nodiscard]] std::vector<std::shared_ptr<Run>> replace(std::shared_ptr<Run> run);
    /// With the lock held. Returns the descriptor that is readable while something can be received.
    /// It stays the same over restarts. Null: nobody asked for it.
    [[nodiscard]] const std::shared_ptr<NotifyFd>& readable() const noexcept { return readable_; }
    /// Makes that descriptor, if there is none. Without the lock. Throws Exception (no_resources).
    [[nodiscard]] const NotifyFd& make_readable();
    /// For a forked child, whose parent has the threads, locks and descriptors: abandons all
    /// objects without touching them.
    void leak() noexcept;

    /// Counts the requested stops. A start() whose run exists compares this with the count before:
    /// if it has grown, it stops that run, so that no request is lost. Signal-safe.
    [[nodiscard]] std::uint32_t stop_requests() const noexcept { return stop_requests_.load(); }
    /// Call it before looking up the run to stop. Signal-safe.
    void count_stop_request() noexcept { stop_requests_.fetch_add(1); }

private:
    mutable std::mutex mutex_;
    std::shared_ptr<Run> present_;       // app side: guarded by mutex_
    std::shared_ptr<NotifyFd> readable_; // app side: guarded by mutex_
    /// Replaced in this generation: calls of this and of the previous one may use them.
    std::vector<std::shared_ptr<Run>> recent_; // app side: guarded by mutex_
    /// Replaced earlier: only calls of earlier generations may use them.
    std::vector<std::shared_ptr<Run>> older_;     // app side: guarded by mutex_
    std::atomic<Run*> current_{nullptr};          // app side: atomic
    std::atomic<std::uint64_t> generation_{0};    // app side: atomic
    std::atomic<std::uint32_t> stop_requests_{0}; // app side: atomic
    mutable std::atomic<int> calls_[2]{}; // app side: atomic; calls under way, by generation
};

} // namespace sidecar::detail
