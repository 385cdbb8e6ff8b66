// Whether this process was forked off another since something was made.
#pragma once

#include <cstdint>

namespace sidecar::detail {

/// How often this process image has been forked off another; in a child it differs from what the
/// parent's objects saw. Side: any thread.
[[nodiscard]] std::uint64_t fork_generation() noexcept;
[[nodiscard]] bool has_forked_since(std::uint64_t generation) noexcept;

} // namespace sidecar::detail
