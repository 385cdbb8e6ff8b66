// Text from outside, made fit for a line of ours: escape, quote, redact; and refusals in words.
// Without I/O. Private to the transports.
#pragma once

#include <sidecar/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::http {

/// Escapes control characters and bytes above 0x7e (`\r`, `\n`, `\x1b`). A text of more than
/// `max_bytes` is cut and ends in "...".
[[nodiscard]] std::string escape(std::string_view bytes,
                                 std::size_t max_bytes = std::string_view::npos);

/// Text, also with a few bytes beyond ASCII in it, in quotes and escaped; anything else in hex:
/// `"-ERR\r\n"`, `15 03 01 00 02 02 46`.
[[nodiscard]] std::string quote(std::string_view bytes, std::size_t max_bytes);

/// A stranger's name in quotes: what is a quote or a backslash in it is escaped too.
[[nodiscard]] std::string quote_name(std::string_view bytes, std::size_t max_bytes = 64);

/// The URL as it may appear in any text: user information, the values of the query and the fragment
/// become "***"; the names in the query and the path of a Unix-domain socket stay. In a text that is
/// no well-formed URL everything that could be one of these is redacted: all behind the first '?',
/// and all before the last '@'.
[[nodiscard]] std::string redact_url(std::string_view url);

/// Redacts everything that could be a secret in a text that is no URL, and escapes the rest.
[[nodiscard]] std::string redact_text(std::string_view text);

/// The secrets of one link: no text may show them, even if the peer repeats them. Side: sidecar.
class Secrets {
public:
    /// Adds the secret as it is given, percent-decoded and percent-encoded. One of fewer than four
    /// bytes is none: a text without any "1" in it says nothing.
    void add(std::string_view secret);
    /// Adds the value of a header field: in whole, and each longer word of it ("Bearer <token>").
    void add_field(std::string_view value);
    /// Adds all that `other` has; returns this.
    Secrets& add(const Secrets& other);
    /// Puts "***" in place of each secret, and of one that is cut off at the text's end.
    [[nodiscard]] std::string redact(std::string text) const;

private:
    void insert(std::string secret);

    std::vector<std::string> secrets_; // sidecar side; the longest first
};

/// A refusal in words, as each validate() returns it; the caller adds what was attempted, on what.
[[nodiscard]] Failure refuse(Error error, std::string why);
/// The same failure, which names what was attempted and on what.
[[nodiscard]] Failure with_context(const Failure& failure, std::string attempted,
                                   std::string endpoint);

} // namespace sidecar::http
