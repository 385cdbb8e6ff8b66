// Makes untrusted text fit for a log line: escape, quote, redact; and makes refusals. Without I/O.
// Private to the transports.
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

/// Quotes and escapes text, even with a few bytes beyond ASCII in it; prints anything else in hex:
/// `"-ERR\r\n"`, `15 03 01 00 02 02 46`.
[[nodiscard]] std::string quote(std::string_view bytes, std::size_t max_bytes);

/// Quotes an untrusted name; escapes quotes and backslashes in it too.
[[nodiscard]] std::string quote_name(std::string_view bytes, std::size_t max_bytes = 64);

/// Returns the URL in a form that any text may show: user information, the values of the query and
/// the fragment become "***"; the names in the query and the path of a Unix-domain socket stay. In
/// a text that is no well-formed URL it redacts everything that could be one of these: all behind
/// the first '?' or '#', and all before the last '@'.
[[nodiscard]] std::string redact_url(std::string_view url);

/// Redacts everything that could be a secret in a text that is no URL, and escapes the rest.
[[nodiscard]] std::string redact_text(std::string_view text);

/// The secrets of one link. No text may show them, even if the peer repeats them. Side: sidecar.
class Secrets {
public:
    /// Adds the secret as given, percent-decoded and percent-encoded. Ignores one of fewer than
    /// four bytes: redacting every "1" would leave no readable text.
    void add(std::string_view secret);
    /// Adds the value of a header field: the whole, and each word of at least eight bytes ("Bearer
    /// <token>").
    void add_field(std::string_view value);
    /// Adds all secrets of `other`; returns *this.
    Secrets& add(const Secrets& other);
    /// Replaces each secret by "***", also one that is cut off at the text's end.
    [[nodiscard]] std::string redact(std::string text) const;

private:
    void insert(std::string secret);

    std::vector<std::string> secrets_; // sidecar side; the longest first
};

/// Makes a failure with an explanation only, as each validate() returns it; the caller adds the
/// attempt and the endpoint.
[[nodiscard]] Failure refuse(Error error, std::string why);

} // namespace sidecar::http
