// Detects that an object is used in a forked child.
#pragma once

#include <cstdint>

namespace sidecar::detail {

/// Returns how often this process image was forked: in a child it differs from the value that the
/// parent's objects keep. Side: any thread.
[[nodiscard]] std::uint64_t fork_generation() noexcept;
/// True in a child that was forked after fork_generation() returned `generation`. Side: any thread.
[[nodiscard]] bool has_forked_since(std::uint64_t generation) noexcept;

} // namespace sidecar::detail
