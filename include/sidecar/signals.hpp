// Stopping on signals: Ctrl-C ends a sidecar in order, a second one the process.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/feed.hpp>

#include <csignal>
#include <initializer_list>
#include <utility>

namespace sidecar {

/// While it lives, signals request the stop of one sidecar. Made by stop_on_signals().
/// Side: app, any thread.
class SIDECAR_API SignalGuard {
public:
    using Request = void (*)(void*) noexcept;

    /// `request(object)` must be async-signal-safe. Errors (thrown): no_resources (64 guards at
    /// once), bad_options (no such signal, or one that cannot be caught).
    SignalGuard(Request request, void* object, std::initializer_list<int> signals);
    SignalGuard(const SignalGuard&) = delete;
    SignalGuard& operator=(const SignalGuard&) = delete;
    /// Afterwards no handler touches the sidecar; the last guard on a signal brings back what
    /// handled it before.
    ~SignalGuard();

    /// The signal that came first; 0: none yet.
    [[nodiscard]] int signal() const noexcept;

private:
    std::size_t index_;
};

/// From now on, and as long as the guard lives, the first of the signals requests the stop of
/// `feed`, and of every other sidecar guarded so; it wakes whoever waits in receive(), which then
/// tells `stopped`. When all that are guarded have had theirs, one more does what it would have
/// done without guards: by default it ends the process. Blocks: not at all. Errors (thrown): as
/// SignalGuard's. Lifetime: `feed` outlives the guard.
[[nodiscard]] inline SignalGuard stop_on_signals(Feed& feed, std::initializer_list<int> signals = {
                                                                 SIGINT, SIGTERM})
{
    return SignalGuard{[](void* object) noexcept { static_cast<Feed*>(object)->request_stop(); },
                       &feed, signals};
}

} // namespace sidecar
