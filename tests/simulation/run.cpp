#include "simulation/run.hpp"

#include "simulation/application.hpp"
#include "simulation/memory.hpp"
#include "support/sanitized.hpp"

#include <dirent.h>

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

std::string run_once(const World& world, bool traces)
{
    Model model{world};
    Application{world, model, traces}.run();
    return model.complaint();
}

} // namespace

std::string run(const World& world, bool traces)
{
    const auto descriptors = count_entries("/proc/self/fd");
    const auto before = memory_in_use();
    auto complaint = run_once(world, traces);
    if (!complaint.empty())
        return complaint;
    if (const auto after = count_entries("/proc/self/fd"); after != descriptors)
        return fmt::format("{} descriptors before, {} after", descriptors, after);
    const auto after = memory_in_use() - complaint.capacity();
    if (!is_sanitized && after > before)
        return fmt::format("{} bytes of memory before, {} after", before, after);
    return complaint;
}

} // namespace simulation
