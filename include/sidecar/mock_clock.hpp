// MockClock: virtual time for tests, which several feeds and threads of one application share.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace sidecar {

namespace detail {
class VirtualTime;
struct TaskSlot;
} // namespace detail

/// Virtual time, in a test, of all feeds whose transports name it (Mock::Options::clock). Copies
/// are the same clock. It begins at zero, and continues over stops and starts. Without a MockClock
/// each run of a feed on virtual time has a clock that begins at zero.
///
/// One thread has the turn at a time. The loops run only while the application waits in a call of
/// a feed, a link or this clock. A call that finds nothing to return, or that only looks (poll,
/// state, stats, errors, dump, the questions of a MockPeer), first lets everything happen that can
/// happen at the present moment. Time jumps to the next timer when nothing else can happen and the
/// application waits for time to pass. So each run of a test with one thread gives the same result;
/// with several threads, make them as MockThreads. A loop also runs after the application has made
/// no call for a second of real time.
/// Side: any thread of the application.
class SIDECAR_API MockClock {
public:
    struct Options {
        /// How far time may pass. Then each call that waits for later fails with
        /// Error::time_limit, whose text says who waits for what; stop() still works.
        Duration virtual_time = std::chrono::hours{24};
        /// A seed other than zero draws which thread runs next, and for how long, so that many
        /// seeds try many orders of events. The same seed gives the same order.
        std::uint64_t interleaving = 0;
    };

    MockClock() : MockClock{Options{}} {}
    explicit MockClock(const Options& options);

    [[nodiscard]] TimePoint now() const noexcept;
    /// Lets this time pass: all feeds of the clock act meanwhile.
    /// Errors: throws Exception (time_limit). Time cannot pass while a loop's thread runs: throws
    /// Exception (misuse) there.
    void advance(Duration duration) const;
    /// Lets everything happen that can happen at the present moment. No effect on a loop's thread.
    void settle() const;

private:
    friend class MockThread;
    friend std::shared_ptr<detail::VirtualTime> time_of(const MockClock& clock) noexcept
    {
        return clock.time_;
    }
    friend struct detail::TaskSlot;
    explicit MockClock(std::shared_ptr<detail::VirtualTime> time) noexcept : time_{std::move(time)}
    {
    }
    std::shared_ptr<detail::VirtualTime> time_; // both: constant
};

/// A thread of the application in a test on virtual time. It, the thread that made it, and the
/// loops take turns: while one of them computes, the others wait. So two threads that call one feed
/// do so in the same order in each run. Such a thread must wait for others only in calls of a feed,
/// a link, a clock, or in join(): while it waits in another way, nobody has a turn.
/// Side: the thread that made it.
class SIDECAR_API MockThread {
public:
    /// Makes a thread that calls `function` when the present thread waits. Throws std::system_error
    /// if the system has no thread, and Exception (misuse) on a loop's thread or for a second clock
    /// in one thread.
    MockThread(const MockClock& clock, std::function<void()> function);
    MockThread(const MockThread&) = delete;
    MockThread& operator=(const MockThread&) = delete;
    /// Calls join(), but discards an exception.
    ~MockThread();

    /// Waits, in virtual time, until the function has returned. Rethrows its exception.
    void join();

private:
    struct SIDECAR_LOCAL State;
    std::shared_ptr<State> state_; // app side; null: joined
};

} // namespace sidecar
