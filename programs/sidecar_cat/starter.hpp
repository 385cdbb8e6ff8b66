// Starter: connects on a thread of its own, so that the main loop goes on meanwhile.
#pragma once

#include <sidecar/feed.hpp>

#include <optional>
#include <thread>

namespace sidecar_cat {

/// Runs Feed::start() on a thread, and tells by a descriptor that it is done.
/// Owned by Session, on the main thread. The feed outlives it.
class Starter {
public:
    /// Throws std::system_error where the system has no thread or descriptor left.
    Starter(sidecar::Feed& feed, sidecar::Duration timeout);
    Starter(const Starter&) = delete;
    Starter& operator=(const Starter&) = delete;
    /// Waits for the start to end; whoever does not want to wait requests a stop first.
    ~Starter();

    /// Readable when the start is over; -1: its result has been taken.
    [[nodiscard]] int to_poll() const noexcept { return is_taken_ ? -1 : done_; }
    /// Blocks: not, once to_poll() is readable.
    [[nodiscard]] sidecar::Result<void> result();

private:
    int done_;                                      // an eventfd
    bool is_taken_ = false;                         // main thread
    std::optional<sidecar::Result<void>> result_{}; // the thread's, until it is joined
    std::thread thread_;
};

} // namespace sidecar_cat
