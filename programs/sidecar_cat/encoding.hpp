// Bytes as text: hex, base64, JSON strings, and what a terminal may be shown.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// Side of all these: any thread; they are pure. The `append` ones write behind what `out` holds,
/// so that a batch of messages costs one buffer.

void append_hex(std::string& out, std::string_view bytes);
/// RFC 4648 section 4, with padding, on one line.
void append_base64(std::string& out, std::string_view bytes);
/// A JSON string with its quotes (RFC 8259 section 7). `text` must be UTF-8.
void append_json_string(std::string& out, std::string_view text);
/// The text with control characters (all but newline and tab) and bytes that are no UTF-8 as \xNN:
/// what a peer sends must not command the terminal.
void append_for_terminal(std::string& out, std::string_view text);

/// Empty: an odd number of digits, or something that is none. Spaces between bytes are passed over.
[[nodiscard]] std::optional<std::string> decode_hex(std::string_view text);
/// Empty: not base64 of RFC 4648 section 4. Padding may be left out.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

/// RFC 3629: no surrogates, no overlong forms.
[[nodiscard]] bool is_utf8(std::string_view bytes) noexcept;
/// Bytes of the UTF-8 character at the front; 0: there is none.
[[nodiscard]] std::size_t utf8_character_size(std::string_view bytes) noexcept;

} // namespace sidecar_cat
