// What a process holds of the system: threads, descriptors, memory.
#pragma once

#include "support/descriptors.hpp"
#include "support/sanitized.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

struct Footprint {
    std::size_t threads = 0, descriptors = 0, mappings = 0;
    std::size_t resident_kib = 0, virtual_kib = 0;

    /// What the allocator and the kernel's page accounting may move; a leak of a KiB per cycle would
    /// show. The link that ended last may still have its outbox, 2 MiB of addresses.
    static constexpr std::size_t resident_tolerance_kib = 512, virtual_tolerance_kib = 4096,
                                 mappings_tolerance = 4;

    static Footprint now()
    {
        Footprint footprint{.threads = threads_at_work(), .descriptors = open_descriptors().size()};
        std::ifstream status{"/proc/self/status"};
        for (std::string word; status >> word;) {
            if (word == "VmRSS:")
                status >> footprint.resident_kib;
            if (word == "VmSize:")
                status >> footprint.virtual_kib;
        }
        std::ifstream maps{"/proc/self/maps"};
        for (std::string line; std::getline(maps, line);)
            ++footprint.mappings;
        return footprint;
    }
    /// Counts threads without those that are ending: the system lists one for a moment after
    /// pthread_join() has returned.
    static std::size_t threads_at_work()
    {
        constexpr unsigned long is_exiting = 4; // PF_EXITING in proc_pid_stat(5)
        std::size_t count = 0;
        for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
            std::ifstream stat{task.path() / "stat"};
            std::string line;
            if (!std::getline(stat, line))
                continue; // it has ended
            std::istringstream rest{line.substr(line.rfind(')') + 1)};
            std::string skipped;
            for (int field = 3; field < 9; ++field)
                rest >> skipped;
            unsigned long flags = 0;
            rest >> flags;
            count += (flags & is_exiting) == 0 ? 1 : 0;
        }
        return count;
    }
    void print(const char* when) const
    {
        fmt::print("{:<16} {} threads, {} descriptors, {} mappings, {} KiB resident, {} KiB of "
                   "addresses\n",
                   when, threads, descriptors, mappings, resident_kib, virtual_kib);
    }
    /// A sanitizer's memory is its own affair.
    [[nodiscard]] bool has_grown_since(const Footprint& before) const
    {
        const bool memory_has = resident_kib > before.resident_kib + resident_tolerance_kib
                                || virtual_kib > before.virtual_kib + virtual_tolerance_kib
                                || mappings > before.mappings + mappings_tolerance;
        return threads > before.threads || descriptors > before.descriptors
               || (!is_sanitized && memory_has);
    }
};
