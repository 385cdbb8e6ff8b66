// Sidecars that share a thread, and which thread that is.
#pragma once

#include "support/fixture.hpp"
#include "support/least_transport.hpp"
#include "support/quiet.hpp"

#include <sidecar/loop_thread.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

/// The thread that runs this feed's coroutines.
inline std::thread::id thread_of(sidecar::Feed& feed)
{
    return feed
        .call("who",
              [](sidecar::Context) -> sidecar::Task<std::thread::id> {
                  co_return std::this_thread::get_id();
              })
        .value();
}

inline std::size_t threads_of_process()
{
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, {}));
}

/// On a thread that others share.
inline sidecar::Options on(const sidecar::LoopThread& thread, sidecar::StopBudget stop = {})
{
    return silenced({.stop = stop, .thread = thread});
}

/// A transport that others on the thread know by a name.
template <char name>
struct Named : LeastTransport {
    using LeastTransport::LeastTransport;
    static std::string endpoint(const Options&) { return std::string{"feed-"} + name; }
};
