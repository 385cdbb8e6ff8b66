// Trials of whole lives: drawn from seeds, and again and again.
#include "driver.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <malloc.h>

namespace sidecar::conformance {
namespace {

struct Footprint {
    std::size_t descriptors = 0, threads = 0, allocated = 0;

    static Footprint now()
    {
        const auto count = [](const char* directory) {
            std::error_code ec;
            return static_cast<std::size_t>(
                std::distance(std::filesystem::directory_iterator{directory, ec}, {}));
        };
        Footprint footprint{.descriptors = count("/proc/self/fd"),
                            .threads = count("/proc/self/task")};
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
        const auto memory = ::mallinfo2();
        footprint.allocated = memory.uordblks + memory.hblkhd;
#endif
        return footprint;
    }
};

/// One short life of a connection.
void live(Driver& d)
{
    d.connect();
    d.start_read();
    const auto messages = d.samples(3, 1000);
    for (const auto& message : messages)
        (void)d.peer().deliver(message.kind, message.payload);
    d.settle();
    d.start_write(messages);
    (void)d.run_until([&] { return !d.writing.is_running(); }, d.timeout());
    d.read_all();
    d.finish();
}

} // namespace

/// Rule 20: the smallest growth over several windows, since other threads of the program come and
/// go too.
void run_leak_trials(Trials& trials)
{
    constexpr std::size_t warm_up = 8, windows = 4, cycles = 6, min_leak_bytes = 24;
    const std::string name = "connect again and again";
    const auto run = [&] { return trials.run({20, name, live}); };
    for (std::size_t i = 0; i < warm_up; ++i)
        if (!run())
            return;
    Footprint least{.descriptors = SIZE_MAX, .threads = SIZE_MAX, .allocated = SIZE_MAX};
    for (std::size_t window = 0; window < windows; ++window) {
        const auto before = Footprint::now();
        for (std::size_t i = 0; i < cycles; ++i)
            if (!run())
                return;
        const auto after = Footprint::now();
        const auto grown = [](std::size_t& smallest, std::size_t from, std::size_t to) {
            smallest = std::min(smallest, to > from ? to - from : 0);
        };
        grown(least.descriptors, before.descriptors, after.descriptors);
        grown(least.threads, before.threads, after.threads);
        grown(least.allocated, before.allocated, after.allocated);
    }
    const auto report = [&](std::size_t count, std::size_t bound, const char* what) {
        if (count >= bound)
            trials.report(20, name,
                          fmt::format("{} connections left {} {} behind", cycles, count, what));
    };
    report(least.descriptors, cycles, "descriptors");
    report(least.threads, cycles, "threads");
    if (Footprint::now().allocated == 0)
        trials.skip(20, "the allocator does not say how much memory is allocated");
    report(least.allocated, cycles * min_leak_bytes, "bytes of memory");
}

/// Everything at once, drawn from a seed: messages in both directions, refusals, pings, and an end
/// at a drawn moment.
void run_random_trials(Trials& trials)
{
    for (unsigned i = 0; i < trials.options().random_trials; ++i) {
        const auto seed = trials.options().seed + i;
        trials.run({4, fmt::format("drawn from seed {}", seed), [=](Driver& d) {
                        d.seed(seed);
                        d.sink.lends_memory = d.random(2) == 0;
                        d.sink.prepares = d.random(2) == 0;
                        d.connect();
                        std::vector<Sample> in, out;
                        const auto size = [&] {
                            return d.random(8) == 0 ? d.random(90'000) : d.random(300);
                        };
                        for (auto steps = 5 + d.random(30); steps != 0; --steps) {
                            switch (d.random(7)) {
                            case 0:
                            case 1:
                                for (auto count = 1 + d.random(20); count != 0; --count) {
                                    auto message =
                                        d.sample(std::min(size(), d.config().max_message_bytes()));
                                    if (!d.peer().deliver(message.kind, message.payload))
                                        break;
                                    in.push_back(std::move(message));
                                }
                                d.note(fmt::format("the peer has sent {} messages", in.size()));
                                break;
                            case 2:
                                d.sink.refuse_at = 2 + d.random(5);
                                d.sink.refusals_left = 1 + d.random(3);
                                break;
                            case 3: d.expect_messages(in, 4); break;
                            case 4:
                                if (d.writing.is_running())
                                    d.expect_end(d.writing, 10, d.timeout(), "the peer takes all");
                                {
                                    std::vector<Sample> batch;
                                    for (auto count = 1 + d.random(10); count != 0; --count)
                                        batch.push_back(d.sample(size()));
                                    out.insert(out.end(), batch.begin(), batch.end());
                                    d.start_write(batch);
                                }
                                break;
                            case 5:
                                if (d.config().can_ping() && !d.pinging.is_running())
                                    d.start_ping("12345678");
                                break;
                            default:
                                if (!d.reading.is_running() && !d.reading.error())
                                    d.start_read();
                                (void)d.run_to(d.reading, static_cast<unsigned>(d.random(4)));
                            }
                        }
                        const auto end = d.random(3);
                        if (end == 0) {
                            d.expect_messages(in, 4);
                            if (d.writing.is_running())
                                d.expect_end(d.writing, 10, d.timeout(), "the peer takes all");
                            if (d.peer().received())
                                d.expect_received(out, 10);
                        } else if (end == 1 && d.peer().reset()) {
                            d.note("the peer breaks the connection");
                            (void)d.run_to(d.reading, 3);
                        }
                        d.finish();
                    }});
    }
}

} // namespace sidecar::conformance
