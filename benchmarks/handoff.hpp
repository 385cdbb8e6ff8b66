// The handoff from one thread to another within a process, written once for all queues.
#pragma once

#include "harness.hpp"

#include <stdexcept>
#include <thread>

namespace bench {

/// For counting instructions: alternates both sides on one thread, so that every run is the same.
template <class Queue>
void hand_over_exactly(const Job& job)
{
    Queue queue;
    const auto payload = payload_of(job);
    std::uint64_t sum = 0;
    for (std::uint64_t done = 0; done < job.exactly; done += job.count) {
        for (std::uint64_t i = 0; i < job.count; ++i)
            queue.push(bytes_of(payload));
        queue.publish();
        std::uint64_t taken = 0;
        queue.pop_while([&](Bytes message) {
            sum += checksum(message);
            return ++taken != job.count;
        });
    }
    if (sum == 0)
        throw std::runtime_error{"nothing came"};
}

/// Publishes `job.count` messages at a time.
template <class Queue>
void measure_handoff(const Job& job, Samples& samples)
{
    if (job.exactly != 0)
        return hand_over_exactly<Queue>(job);
    // Never freed: the process ends soon, and the producer may still wait for space then.
    auto& queue = *new Queue;
    std::thread{[&queue, job] {
        const auto payload = payload_of(job);
        for (;;) {
            for (std::uint64_t i = 0; i < job.count; ++i)
                queue.push(bytes_of(payload));
            queue.publish();
        }
    }}.detach();
    Meter meter{job};
    queue.pop_while([&](Bytes message) { return meter.take(message); });
    meter.report(samples);
}

} // namespace bench
