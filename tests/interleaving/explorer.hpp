// Explores how threads may interleave on C++'s memory model, in the very sources of lib/.
//
// They are compiled with -fsanitize=thread and linked with explorer.cpp in place of
// ThreadSanitizer's own runtime. So each atomic operation arrives here with its memory order, and
// each plain access too. Threads are fibers of one thread. Before each operation the explorer
// chooses the thread that goes on, and at each load one of the stores that it may read. It explores
// all choices, except those that only swap independent operations.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace explorer {

/// A small program, of at most three threads. Its world is made anew for each run.
struct Program {
    const char* name;
    void* (*make)();
    std::vector<void (*)(void*)> threads;
    void (*check)(void*); ///< when all threads have ended
    void (*destroy)(void*);
};

/// Makes a Program of a class with its threads one(), two(), perhaps three(), and check().
template <class World>
[[nodiscard]] Program program(const char* name)
{
    Program made{.name = name,
                 .make = []() -> void* { return new World; },
                 .threads = {[](void* at) { static_cast<World*>(at)->one(); },
                             [](void* at) { static_cast<World*>(at)->two(); }},
                 .check = [](void* at) { static_cast<World*>(at)->check(); },
                 .destroy = [](void* at) { delete static_cast<World*>(at); }};
    if constexpr (requires(World& it) { it.three(); })
        made.threads.push_back([](void* at) { static_cast<World*>(at)->three(); });
    return made;
}

enum class Kind : std::uint8_t { load, store, rmw, fence };

/// A place in lib/ with an atomic operation.
struct Site {
    std::string function; ///< with its class
    Kind kind{};
    std::memory_order order{};
    bool operator==(const Site&) const = default;
    bool operator<(const Site& other) const
    {
        return std::tie(function, kind, order) < std::tie(other.function, other.kind, other.order);
    }
};

/// Gives a place another memory order.
struct Mutant {
    Site site;
    std::memory_order order;
};

[[nodiscard]] const char* name_of(std::memory_order order);

struct Outcome {
    std::uint64_t runs = 0;
    bool is_complete = false; ///< all choices were explored
    std::string failure;      ///< with the steps that led to it; empty: none
    std::vector<Site> sites;  ///< that were reached
};

struct Limits {
    std::uint64_t runs;
    std::uint64_t seed = 0; ///< not zero: each run is drawn
};

/// Explores all runs, or as many as the limit says. Stops at the first failure.
[[nodiscard]] Outcome explore(const Program& program, const Limits& limits,
                              const Mutant* mutant = nullptr);

// --- for a program
/// Ends the run as a failure if the condition does not hold.
void require(bool condition, const char* text);
/// Whether the descriptor, which eventfd() made, is readable.
[[nodiscard]] bool is_readable(int fd);
void wait_readable(int fd);

} // namespace explorer
