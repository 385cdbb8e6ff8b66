// What stands behind a LoopThread.
#pragma once

#include "loop/loop_host.hpp"

#include <sidecar/loop_thread.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace sidecar::detail {

/// The thread that a LoopThread's sidecars are given, and the next one once that takes no more. Held
/// by the handles. Side: app, any thread.
class LoopThreads {
public:
    LoopThreads();
    LoopThreads(const LoopThreads&) = delete;
    LoopThreads& operator=(const LoopThreads&) = delete;
    /// Waits for the thread's end, for a second at most.
    ~LoopThreads();

    [[nodiscard]] static LoopThreads& of(const LoopThread& handle) noexcept
    {
        return *handle.threads_;
    }

    /// Starts the thread if there is none. Throws Exception (bad_options, forked, no_resources).
    [[nodiscard]] LoopLease lease(bool is_virtual);
    [[nodiscard]] std::size_t leases() const noexcept;
    [[nodiscard]] bool is_current() const noexcept;

private:
    [[nodiscard]] std::shared_ptr<LoopHost> present() const noexcept;

    const std::uint64_t fork_generation_; // app side: constant
    mutable std::mutex mutex_;
    std::shared_ptr<LoopHost> host_; // app side: guarded by mutex_; null before the first lease
};

} // namespace sidecar::detail
