// Stopping on signals: the first Ctrl-C stops a sidecar in order, the second ends the process.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/feed.hpp>

#include <csignal>
#include <initializer_list>
#include <utility>

namespace sidecar {

/// Requests the stop of one sidecar on signals, as long as it lives. Made by stop_on_signals().
/// Side: app, any thread.
class SIDECAR_API SignalGuard {
public:
    using Request = void (*)(void*) noexcept;

    /// `request(object)` must be async-signal-safe. Errors (thrown): no_resources (64 guards exist
    /// already), bad_options (no such signal, or one that cannot be caught).
    SignalGuard(Request request, void* object, std::initializer_list<int> signals);
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;
    /// When it returns, no handler touches the sidecar. The last guard on a signal restores the
    /// previous handler, unless the program has set another one.
    ~SignalGuard();

    /// The first signal that arrived; 0: none yet.
    [[nodiscard]] int signal() const noexcept;

private:
    std::size_t index_;
};

/// Guards `feed`: the first of the signals requests its stop, and the stop of every other guarded
/// sidecar. A waiting receive() wakes up and returns `stopped`. When each guarded sidecar has had a
/// signal, one more goes to the previous handler. Without one, or if the signal was ignored, it
/// takes its default action: SIGINT and SIGTERM end the process.
/// Blocks: not at all. Errors (thrown): as SignalGuard's. Lifetime: `feed` outlives the guard.
[[nodiscard]] inline SignalGuard stop_on_signals(Feed& feed, std::initializer_list<int> signals = {
                                                                 SIGINT, SIGTERM})
{
    return SignalGuard{[](void* object) noexcept { static_cast<Feed*>(object)->request_stop(); },
                       &feed, signals};
}

} // namespace sidecar
