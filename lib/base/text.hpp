// Cleans texts as UTF-8; formats durations for programs and for people.
#pragma once

#include <sidecar/clock.hpp>

#include <string>
#include <string_view>

namespace sidecar::detail {

/// Returns the text with each byte that is not part of valid UTF-8 (RFC 3629) replaced by U+FFFD.
[[nodiscard]] std::string clean_utf8(std::string_view text);
/// Whether the texts are equal, in any case of the letters A to Z.
[[nodiscard]] bool equal_in_any_case(std::string_view a, std::string_view b) noexcept;
/// Formats in seconds, exact, without trailing zeros: "1.5", "0.000000001".
[[nodiscard]] std::string in_seconds(Duration duration);
/// Formats for people: "812 ns", "1.20 ms", "3.40 s", "2 h 05 min".
[[nodiscard]] std::string readable(Duration duration);

} // namespace sidecar::detail
