// A random number generator in one word, the same on every platform.
#pragma once

#include <cstdint>

namespace sidecar::detail {

/// splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): works with
/// every state, zero included.
[[nodiscard]] constexpr std::uint64_t next_random(std::uint64_t& state) noexcept
{
    auto z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/// Returns a number from 0 to below 1.
[[nodiscard]] constexpr double next_fraction(std::uint64_t& state) noexcept
{
    return static_cast<double>(next_random(state) >> 11) * 0x1p-53;
}

} // namespace sidecar::detail
