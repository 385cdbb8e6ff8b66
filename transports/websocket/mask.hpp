// Masking, RFC 6455 section 5.3: what a client sends must not be foreseeable for whoever gave it the
// payload.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace sidecar::websocket {

using MaskKey = std::array<std::byte, 4>;

/// A key that nobody can foresee, from the system's source of entropy. It is asked once for
/// hundreds of keys; what it gave is never used again, also not by a process that forks meanwhile.
/// Side: any thread. Errors (thrown): system_error when the system has no entropy to give.
[[nodiscard]] MaskKey new_mask_key();

/// Masks bytes in place. `offset`: how many bytes of the same frame's payload came before them.
void mask(std::span<std::byte> bytes, MaskKey key, std::size_t offset = 0) noexcept;

} // namespace sidecar::websocket
