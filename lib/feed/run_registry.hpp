// RunRegistry: the state of one feed: its options, its successive runs, and the calls on them.
#pragma once

#include "base/fork_guard.hpp"
#include "base/futex.hpp"
#include "feed/run.hpp"

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/options.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// Owns the current run, and earlier ones until no call can use them. A call finds its run through
/// an atomic pointer and is counted while it lasts. Locks and shared_ptr are avoided:
/// request_stop() must be async-signal-safe, and send() should cost no reference count that threads
/// share. A call counts under the generation in which it began. Generations alternate between two
/// counters, so a replaced run is freed soon even if calls never cease. Owned by the Feed, which
/// hands it on when it is moved, and by signal guards. Side: app, any thread.
class RunRegistry {
public:
    /// The last owner waits until the calls of other threads have ended. If they do not end soon,
    /// or in a forked child, the object is never freed.
    [[nodiscard]] static std::shared_ptr<RunRegistry> make(std::shared_ptr<const LinkConfig> config,
                                                           Options options)
    {
        return {new RunRegistry{std::move(config), std::move(options)}, [](RunRegistry* runs) {
                    if (!runs->is_forked() && runs->have_calls_ended())
                        delete runs;
                }};
    }
    RunRegistry(const RunRegistry&) = delete;
    RunRegistry& operator=(const RunRegistry&) = delete;

    [[nodiscard]] const Options& options() const noexcept { return options_; }
    /// Returns the transport and its options for the next run. Without the lock.
    [[nodiscard]] std::shared_ptr<const LinkConfig> config() const
    {
        std::unique_lock lock{mutex_, std::defer_lock};
        if (!is_forked()) // in a forked child another thread of the parent may hold it for ever
            lock.lock();
        return config_;
    }
    /// With the lock held.
    void set_config(std::shared_ptr<const LinkConfig> config) noexcept { config_.swap(config); }
    [[nodiscard]] std::uint64_t fork_generation() const noexcept { return fork_generation_; }
    [[nodiscard]] bool is_forked() const noexcept { return has_forked_since(fork_generation_); }

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
    /// With the lock held. Returns the subscriptions that the first link of each run begins with.
    [[nodiscard]] std::vector<Subscription>& subscriptions() noexcept { return subscriptions_; }
    /// With the lock held. Returns the descriptor that is readable while something can be received.
    /// It stays the same over restarts. Null: nobody asked for it.
    [[nodiscard]] const std::shared_ptr<NotifyFd>& readable() const noexcept { return readable_; }
    /// Makes that descriptor, if there is none. Without the lock. Throws Exception (no_resources).
    [[nodiscard]] const NotifyFd& make_readable();
    /// Requests the stop of the current run, if there is one. Signal-safe.
    void request_stop() noexcept;
    /// Counts the requested stops. A start() whose run exists compares this with the count before:
    /// if it has grown, it stops that run, so that no request is lost. Signal-safe.
    [[nodiscard]] std::uint32_t stop_requests() const noexcept { return stop_requests_.load(); }
    /// Call it before looking up the run to stop. Signal-safe.
    void count_stop_request() noexcept
    {
        stop_requests_.fetch_add(1);
        stop_requested_.wake();
    }
    /// Whether a stop was requested and not reported yet: then start() refuses. Signal-safe.
    [[nodiscard]] bool is_stop_pending() const noexcept { return is_stop_pending_.load(); }
    /// Call it with true before count_stop_request(), and with false to report the stop.
    /// Signal-safe.
    void set_stop_pending(bool is_pending) noexcept { is_stop_pending_.store(is_pending); }
    /// The count of requested stops before the latest start.
    [[nodiscard]] std::uint32_t stops_at_start() const noexcept { return stops_at_start_.load(); }
    /// With the lock held.
    void set_stops_at_start(std::uint32_t stops) noexcept { stops_at_start_.store(stops); }
    /// Call it before sleep_until(), while a call is counted. A sleeper uses no run and counts
    /// apart, so that replaced runs are freed meanwhile.
    void begin_sleep() noexcept { sleepers_.fetch_add(1); }
    /// Sleeps in real time until `deadline`, or until stop_requests() is no longer `stops_before`.
    /// False: a stop was requested. At its end this object may be gone.
    [[nodiscard]] bool sleep_until(TimePoint deadline, std::uint32_t stops_before) noexcept;

private:
    RunRegistry(std::shared_ptr<const LinkConfig> config, Options options)
        : options_{std::move(options)},
          config_{std::move(config)},
          subscriptions_{options_.subscriptions}
    {
    }
    ~RunRegistry() = default;
    [[nodiscard]] bool have_calls_ended() const noexcept;

    const Options options_;                                           // both: constant
    const std::uint64_t fork_generation_ = detail::fork_generation(); // both: constant
    mutable std::mutex mutex_;
    std::shared_ptr<const LinkConfig> config_; // app side: guarded by mutex_
    std::shared_ptr<Run> present_;             // app side: guarded by mutex_
    std::shared_ptr<NotifyFd> readable_;       // app side: guarded by mutex_
    std::vector<Subscription> subscriptions_;  // app side: guarded by mutex_; each key once
    /// Replaced in this generation: calls of this and of the previous one may use them.
    std::vector<std::shared_ptr<Run>> recent_; // app side: guarded by mutex_
    /// Replaced earlier: only calls of earlier generations may use them.
    std::vector<std::shared_ptr<Run>> older_;      // app side: guarded by mutex_
    std::atomic<Run*> current_{nullptr};           // app side: atomic
    std::atomic<std::uint64_t> generation_{0};     // app side: atomic
    std::atomic<std::uint32_t> stop_requests_{0};  // app side: atomic
    std::atomic<std::uint32_t> stops_at_start_{0}; // app side: atomic
    std::atomic<bool> is_stop_pending_{false};     // app side: atomic
    std::atomic<int> sleepers_{0};                 // app side: atomic
    Futex stop_requested_;                         // app side
    mutable std::atomic<int> calls_[2]{}; // app side: atomic; calls under way, by generation
};

} // namespace sidecar::detail
