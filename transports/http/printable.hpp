// Bytes from outside, made fit for a line of text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sidecar::http {

/// As given, but control characters and bytes above 0x7e are escaped (`\r`, `\n`, `\x1b`). What is
/// longer than `limit_bytes` ends in "...".
[[nodiscard]] std::string printable(std::string_view bytes, std::size_t limit_bytes);

/// Text, also with a few bytes beyond ASCII in it, in quotes and escaped; anything else in hex:
/// `"-ERR\r\n"`, `15 03 01 00 02 02 46`.
[[nodiscard]] std::string shown(std::string_view bytes, std::size_t limit_bytes);

} // namespace sidecar::http
