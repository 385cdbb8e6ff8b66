#include "simulation/run.hpp"

#include "simulation/application.hpp"
#include "simulation/memory.hpp"
#include "simulation/server_application.hpp"
#include "support/sanitized.hpp"

#include <dirent.h>

#include <algorithm>

namespace simulation {
namespace {

std::size_t count_entries(const char* directory)
{
    auto* const opened = opendir(directory);
    std::size_t count = 0;
    while (opened && readdir(opened))
        ++count;
    closedir(opened);
    return count;
}

/// What the queues of a world may hold at most, and what a run needs besides.
std::size_t bound(const World& world)
{
    constexpr std::size_t of_run = 256u << 10, of_link = 48u << 10;
    constexpr std::size_t default_inbox = 8u << 20, default_outbox = 2u << 20;
    const auto given = [](int bytes, std::size_t otherwise) {
        return bytes == 0 ? otherwise : static_cast<std::size_t>(bytes);
    };
    std::size_t sum = of_run, largest = 0;
    if (world.serves) // up to 40 clients, each with the plan of a link
        sum += 40 * (of_link + 2 * given(world.client_bytes, std::size_t{1} << 20));
    for (const auto& link : world.links) {
        const auto most = static_cast<std::size_t>(link.max_message);
        largest = std::max(largest, most);
        const auto outbox = given(link.outbox_bytes, default_outbox);
        sum += of_link + 3 * outbox + 2 * most;
        if (link.policy || link.max_age || link.high || link.queue_messages || link.queue_bytes)
            sum += link.queue_bytes ? static_cast<std::size_t>(link.queue_bytes) + 2 * most
                                    : (1u << 20);
        if (link.prepares)
            sum += 256u << 10;
    }
    sum += std::max(given(world.inbox_bytes, default_inbox), 4 * largest);
    // A Link keeps the queues of its run while the next one begins
    const bool restarts = std::any_of(world.steps.begin(), world.steps.end(),
                                      [](const auto& step) { return step.verb == Verb::start; });
    return restarts ? 2 * sum : sum;
}

std::string run_once(const World& world, bool traces)
{
    Model model{world};
    if (world.serves)
        ServerApplication{world, model, traces}.run();
    else
        Application{world, model, traces}.run();
    return model.complaint();
}

} // namespace

std::string run(const World& world, bool traces)
{
    const auto descriptors = count_entries("/proc/self/fd");
    const auto before = memory_in_use();
    reset_memory_peak();
    auto complaint = run_once(world, traces);
    if (!complaint.empty())
        return complaint;
    if (const auto after = count_entries("/proc/self/fd"); after != descriptors)
        return fmt::format("{} descriptors before, {} after", descriptors, after);
    if (!is_sanitized && memory_peak() - before > bound(world))
        return fmt::format("{} bytes of memory, the bounds are {}", memory_peak() - before,
                           bound(world));
    const auto after = memory_in_use();
    if (!is_sanitized && after > before)
        return fmt::format("{} bytes of memory before, {} after", before, after);
    return complaint;
}

} // namespace simulation
