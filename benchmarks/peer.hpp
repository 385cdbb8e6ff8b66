// The load generator for WebSocket and TCP clients: plain blocking sockets, precomputed frames,
// large writes.
#pragma once

#include "harness.hpp"

#include <thread>

#include <sys/prctl.h>

namespace bench {

/// Calls `emit(count, stamp)` when messages are due at the job's rate.
template <class Emit>
void pace(const Job& job, Emit emit)
{
    ::prctl(PR_SET_TIMERSLACK, 1);
    const auto began = Clock::now();
    const auto due = [&](std::uint64_t number) {
        return began + std::chrono::nanoseconds{number * 1'000'000'000 / job.rate};
    };
    for (std::uint64_t sent = 0; sent < job.count;) {
        std::this_thread::sleep_until(due(sent));
        const auto now = Clock::now();
        std::uint64_t count = 0;
        while (sent + count < job.count && due(sent + count) <= now)
            ++count;
        emit(count, now.time_since_epoch().count());
        sent += count;
    }
}

/// The generator for a library that carries messages itself: the library's channel sends and
/// receives them. Ends with its process.
template <class Channel>
void serve_messages(const Job& job, Channel& channel)
{
    auto payload = payload_of(job);
    switch (job.role) {
    case Role::flood:
        for (;;)
            channel.send(bytes_of(payload));
    case Role::sink: {
        std::uint64_t count = 0;
        channel.receive_while([&](Bytes) { return ++count != job.count; });
        channel.send(bytes_of(payload));
        break;
    }
    case Role::echo:
        channel.receive_while([&](Bytes message) {
            channel.send(message);
            return true;
        });
        break;
    case Role::paced:
        pace(job, [&](std::uint64_t count, Clock::rep stamp) {
            __builtin_memcpy(payload.data(), &stamp, sizeof stamp);
            for (; count != 0; --count)
                channel.send(bytes_of(payload));
        });
        break;
    case Role::idle:
        std::this_thread::sleep_for(std::chrono::milliseconds{200});
        channel.send(bytes_of(payload));
        std::this_thread::sleep_for(std::chrono::duration<double>{job.seconds});
        channel.send(bytes_of(payload));
        break;
    case Role::cycle:
    case Role::links: break;
    }
    // The last messages may still be under way
    std::this_thread::sleep_for(std::chrono::minutes{1});
}

void serve(const Job& job, const std::function<void(std::uint16_t)>& listening);

} // namespace bench
