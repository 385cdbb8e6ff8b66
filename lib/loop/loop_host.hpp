// A loop and the thread that it runs on, for one run or for several that share it.
#pragma once

#include "base/joinable_thread.hpp"
#include "base/latch.hpp"
#include "loop/engine.hpp"

#include <sidecar/clock.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

namespace sidecar::detail {

/// Counts the runs that use a loop, and decides when its thread ends: one that is a run's own with
/// that run, a shared one with the last run after close(), or after it was left alone. Held by its
/// thread and by each run. Threads left alone that have not ended yet are counted in the process.
class LoopHost : public std::enable_shared_from_this<LoopHost> {
public:
    enum class Use { own, shared };

    /// No thread runs yet. Throws Exception (no_resources).
    [[nodiscard]] static std::shared_ptr<LoopHost> make(bool is_virtual, Use use);
    LoopHost(const LoopHost&) = delete;
    LoopHost& operator=(const LoopHost&) = delete;

    // --- app side
    /// One more run; false: it takes none any more.
    [[nodiscard]] bool lease() noexcept;
    /// Starts the thread. Throws std::system_error.
    void start();
    /// Makes the run's part one of the loop's. With a lease.
    void attach(Engine::Membership membership);
    /// Waits for the thread's end, and for what the user's thread_locals do then. False: the
    /// deadline, on the real clock, passed first, or the thread was left alone.
    [[nodiscard]] bool join_until(TimePoint deadline) noexcept;
    /// The thread is not waited for any more, and takes no further run; those on it go on.
    void leave_alone() noexcept;
    /// A shared one takes no further run, and ends after the last.
    void close() noexcept;
    [[nodiscard]] bool is_shared() const noexcept { return use_ == Use::shared; }
    [[nodiscard]] std::size_t leases() const noexcept;

    // --- both
    /// A run is gone, or will not come. True: it was the last, and the loop ends.
    bool give_back() noexcept;
    [[nodiscard]] Engine& engine() noexcept { return engine_; }
    [[nodiscard]] std::thread::id thread_id() const noexcept { return id_.load(); }

    /// Threads of this process that were left alone and have not ended. Side: any.
    [[nodiscard]] static std::uint64_t left_alone_count() noexcept;

private:
    LoopHost(bool is_virtual, Use use) : use_{use}, engine_{is_virtual} {}
    void run_thread() noexcept;
    [[nodiscard]] bool end_if_unused() noexcept;

    enum class Fate { running, ended, left_alone };

    const Use use_;                         // both: constant
    Engine engine_;                         // as its members say
    Latch done_{1};                         // both
    std::atomic<Fate> fate_{Fate::running}; // both: atomic
    std::atomic<std::thread::id> id_{};     // both: atomic

    mutable std::mutex mutex_;
    std::size_t leases_ = 0;     // both: guarded by mutex_
    bool takes_more_ = true;     // both: guarded by mutex_
    bool is_ending_ = false;     // both: guarded by mutex_
    bool is_left_alone_ = false; // both: guarded by mutex_
    JoinableThread thread_;      // app side: who starts it, then joins it or leaves it alone
};

/// A run's use of a host. Side: app, but where it says otherwise.
class LoopLease {
public:
    /// A thread of the run's own; start() starts it.
    [[nodiscard]] static LoopLease own(bool is_virtual);
    /// `host` was leased by the caller.
    explicit LoopLease(std::shared_ptr<LoopHost> host) noexcept : host_{std::move(host)} {}
    LoopLease(LoopLease&&) noexcept = default;
    LoopLease& operator=(LoopLease&&) = delete;
    ~LoopLease() { (void)give_back(); }

    /// Once: true if the loop ends now. Side: any, one thread at a time.
    bool give_back() noexcept
    {
        if (!host_ || is_given_back_)
            return false;
        is_given_back_ = true;
        return host_->give_back();
    }
    [[nodiscard]] LoopHost& host() const noexcept { return *host_; }

private:
    std::shared_ptr<LoopHost> host_; // both: constant
    bool is_given_back_ = false;     // sidecar side, once it is attached
};

} // namespace sidecar::detail
