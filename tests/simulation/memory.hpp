// Counts the memory that the library holds: all of the program's, but what the simulation itself
// allocates for its notes.
#pragma once

#include <cstddef>

namespace simulation {

/// Bytes from operator new that are not freed, and the most that there were since reset_peak().
[[nodiscard]] std::size_t memory_in_use() noexcept;
[[nodiscard]] std::size_t memory_peak() noexcept;
void reset_memory_peak() noexcept;

/// While it lives, allocations of this thread are not counted.
class Uncounted {
public:
    Uncounted() noexcept;
    Uncounted(const Uncounted&) = delete;
    Uncounted& operator=(const Uncounted&) = delete;
    ~Uncounted();

private:
    bool before_;
};

} // namespace simulation
