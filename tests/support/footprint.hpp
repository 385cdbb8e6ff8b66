// What a process holds of the system: threads, descriptors, memory.
#pragma once

#include "support/sanitized.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
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
        const auto count = [](const char* directory) {
            return static_cast<std::size_t>(
                std::distance(std::filesystem::directory_iterator{directory}, {}));
        };
        Footprint footprint{.threads = count("/proc/self/task"),
                            .descriptors = count("/proc/self/fd")};
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
