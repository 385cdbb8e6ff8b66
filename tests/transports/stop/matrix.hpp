// What the cells of the stop matrix share: how a peer behaves once the stop begins, the time there
// is, and the line that each cell prints.
#pragma once

#include <sidecar/options.hpp>

#include <fmt/format.h>

#include <chrono>

/// A half-open peer has ended its own direction, and heeds nothing any more.
enum class Manner { polite, mute, trickle, reset, half_open };

constexpr const char* names_of_manner[] = {"polite", "mute", "trickle", "reset", "half-open"};

constexpr sidecar::StopBudget budget{.total = std::chrono::milliseconds{600},
                                     .drain = std::chrono::milliseconds{200},
                                     .close = std::chrono::milliseconds{200},
                                     .cancel = std::chrono::milliseconds{100}};

inline void print_cell(const char* transport, const char* phase, const char* manner,
                       std::chrono::steady_clock::duration took)
{
    fmt::print("  {:<10} {:<13} {:<9} {:7.2f} ms\n", transport, phase, manner,
               std::chrono::duration<double, std::milli>(took).count());
}
