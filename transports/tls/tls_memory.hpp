// Memory for ciphertext, lent by the thread, that is to all links of a loop: one that is silent
// holds none. Private to TLS.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

namespace sidecar::stream {

/// What one look at the stream below brings, at most: four records, so that a system call costs
/// little beside their decryption.
using TlsInput = std::array<std::byte, 64u << 10>;

[[nodiscard]] std::unique_ptr<TlsInput> lend_input();
void give_back(std::unique_ptr<TlsInput> input) noexcept;

/// Empty, with the room that earlier ones had.
[[nodiscard]] std::vector<std::byte> lend_output() noexcept;
/// Leaves it without memory.
void give_back(std::vector<std::byte>& output) noexcept;

} // namespace sidecar::stream
