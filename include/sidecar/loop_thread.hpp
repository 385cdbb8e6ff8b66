// LoopThread: one thread for several sidecars.
#pragma once

#include <sidecar/detail/export.hpp>

#include <cstddef>
#include <memory>

namespace sidecar {

namespace detail {
class LoopThreads;
}

/// A thread that several sidecars share, whatever their transports; each is given it in its options:
///
///     sidecar::LoopThread loop;
///     sidecar::Sidecar<sidecar::WebSocket> prices{{.url = ...}, {.thread = loop}};
///     sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>> orders{{.host = ...}, {.thread = loop}};
///
/// A handle: its copies stand for the same thread; each Options that names it has one.
///
/// The thread starts with the first start() on it and ends when the last handle is gone (so no sidecar
/// that was given it is left). Between, it waits for the next start(), which then costs no thread.
/// The destruction of the last handle waits for the thread's end, at most a second; then, or on that
/// very thread, it leaves the thread to finish alone.
///
/// Each sidecar on it starts and stops on its own, with its own report: its stop ends its own tasks and
/// leaves the thread, whatever the others do. They share what a thread is: a callback that blocks holds
/// up all. If one never returns, the stop of each sidecar on the thread still ends within its own
/// total, and its report names the task, and whose it is. Such a thread, and any on which a stop had to
/// leave something behind, takes no further sidecar: the next start() gets a new one.
///
/// Waiting calls from the thread, to any of its sidecars, give Error::misuse, and so does a start() of
/// one that would run on it. All sidecars of one thread have the same kind of clock, real or virtual;
/// the first start() decides, and one with the other kind gives bad_options. On virtual time they
/// share the clock, which starts at zero with the thread and not with each start(); it jumps once
/// nothing can run in any of them and the application waits in a call to one of them.
///
/// Side: app, any thread. After a fork, in the child, a start() on it gives Error::forked.
class SIDECAR_API LoopThread {
public:
    LoopThread();
    LoopThread(const LoopThread&) = default; // and no move: each handle has its thread
    LoopThread& operator=(const LoopThread&) = default;
    ~LoopThread() = default;

    /// How many sidecars run on the thread at present. Blocks: not at all.
    [[nodiscard]] std::size_t sidecars() const noexcept;
    /// Whether the calling thread is it.
    [[nodiscard]] bool is_current() const noexcept;

    friend bool operator==(const LoopThread& a, const LoopThread& b) noexcept
    {
        return a.threads_ == b.threads_;
    }

private:
    friend class detail::LoopThreads;
    std::shared_ptr<detail::LoopThreads> threads_;
};

} // namespace sidecar
