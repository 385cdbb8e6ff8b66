// The handoff from one thread to another within a process, written once for all queues.
#pragma once

#include "harness.hpp"

#include <thread>

namespace bench {

/// `job.count` messages to a publication.
template <class Queue>
void measure_handoff(const Job& job, Samples& samples)
{
    // Never freed: the process ends soon, and the producer may still be waiting for room then.
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
