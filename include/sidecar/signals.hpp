// Stopping on signals: the first Ctrl-C stops a sidecar in order, the second ends the process.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/feed.hpp>

#include <csignal>
#include <cstddef>
#include <initializer_list>
#include <memory>

namespace sidecar {

/// Requests the stop of one sidecar on signals, as long as it lives. Made by stop_on_signals().
/// Side: app, any thread.
class SIDECAR_API SignalGuard {
public:
    /// Errors (thrown): no_resources (64 guards exist already), bad_options (no such signal, or one
    /// that cannot be caught), misuse (`feed` was moved from). Lifetime: the guard follows a
    /// sidecar that is moved, and may outlive it.
    SignalGuard(Feed& feed, std::initializer_list<int> signals);
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;
    /// When it returns, no handler touches the sidecar. The last guard on a signal restores the
    /// previous handler, unless the program has set another one.
    ~SignalGuard();

    /// The first signal that arrived; 0: none yet.
    [[nodiscard]] int signal() const noexcept;

private:
    const std::shared_ptr<detail::RunRegistry> runs_; // app side; of the guarded sidecar
    std::size_t index_;                               // app side
};

/// Guards `feed`: the first of the signals requests its stop, and the stop of every other guarded
/// sidecar. A waiting receive() wakes up and returns `stopped`; before start(), the next start()
/// returns `stopping`. When each guarded sidecar has had a signal, one more goes to the previous
/// handler. Without one, or if the signal was ignored, it takes its default action: SIGINT and
/// SIGTERM end the process. The same signal within 500 ms of the first is part of the first:
/// `timeout -s INT` sends two.
/// Blocks: not at all. Errors (thrown) and lifetime: as SignalGuard's.
[[nodiscard]] inline SignalGuard stop_on_signals(Feed& feed, std::initializer_list<int> signals = {
                                                                 SIGINT, SIGTERM})
{
    return SignalGuard{feed, signals};
}

} // namespace sidecar
