// Texts of ours in forms that programs read.
#pragma once

#include <sidecar/clock.hpp>

#include <string>
#include <string_view>

namespace sidecar::detail {

/// The same text; what is not UTF-8 in it (RFC 3629) is replaced by U+FFFD, byte by byte.
[[nodiscard]] std::string clean_utf8(std::string_view text);
/// "1.5", "0.000000001": exact, and without zeros at the end.
[[nodiscard]] std::string in_seconds(Duration duration);
/// For people: "812 ns", "1.20 ms", "3.4 s", "2 h 05 min".
[[nodiscard]] std::string readable(Duration duration);

} // namespace sidecar::detail
