// Splits a URI and validates its parts, RFC 3986. Without I/O. Private to the transports.
#pragma once

#include <sidecar/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar::http {

inline constexpr auto npos = std::string_view::npos;

[[nodiscard]] bool is_alpha(char c) noexcept;
[[nodiscard]] bool is_digit(char c) noexcept;
[[nodiscard]] bool is_beyond_ascii(char c) noexcept;
/// A printing ASCII character other than space.
[[nodiscard]] bool is_visible(char c) noexcept;
/// RFC 3986 section 2.3.
[[nodiscard]] bool is_unreserved(char c) noexcept;
/// RFC 9110 section 5.6.2.
[[nodiscard]] bool is_token_char(char c) noexcept;

/// Changes ASCII letters only.
[[nodiscard]] std::string lower(std::string_view text);
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b);

/// Removes the part before the first of `delimiters` from `text` and returns it. The delimiter
/// stays in `text`. Lifetime: that of the text.
[[nodiscard]] std::string_view cut(std::string_view& text, std::string_view delimiters);

/// Replaces each triplet like `%41` by its byte; anything else stays.
[[nodiscard]] std::string percent_decoded(std::string_view text);
/// Whether every '%' begins a triplet.
[[nodiscard]] bool is_percent_encoding_right(std::string_view text);

/// The components of a URI by RFC 3986 appendix B, not validated. Lifetime: views into the text.
///
/// A scheme that ends in "+unix" has a different form, "ws+unix:/path/of.sock:/resource?query",
/// since an authority cannot show a socket's path and its end. "ws+unix:///path" means the same.
struct Components {
    std::string_view scheme; ///< empty: neither "scheme://" nor "...+unix:"
    std::optional<std::string_view> user_info{};
    std::string_view host{}; ///< with brackets and zone
    std::optional<std::string_view> port{};
    bool is_unix = false;
    std::string_view socket{}; ///< of a Unix-domain socket, instead of user, host and port
    std::string_view path{};   ///< of the resource; may be empty
    std::optional<std::string_view> query{};
    std::optional<std::string_view> fragment{};
};
[[nodiscard]] Components split(std::string_view text);

/// Returns the port; empty: not a number from 1 to 65535.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view digits);

/// A host, for the resolver and for the Host field.
struct Host {
    std::string name;  ///< no brackets, the zone behind a plain '%'
    std::string field; ///< as given, without the zone (RFC 6874 section 4)
};
/// Errors: bad_address; the explanation shows no part of the host.
[[nodiscard]] Result<Host> parse_host(std::string_view host);
/// Checks that this can be a host's name for any use: in a request, a look-up, a certificate. Its
/// parts have 1 to 63 letters, digits, '-' and '_'; a dot may end it. Addresses are valid too.
/// Errors: bad_address; the explanation shows no part of the host.
[[nodiscard]] Result<void> validate_host_name(std::string_view name);
/// Checks a host, or an address with its zone, that an option of this name gives: without a port,
/// brackets, or a URL around it. Errors: bad_address; the explanation shows no part of the host.
[[nodiscard]] Result<void> validate_host(const std::string& host, std::string_view option);
/// Returns 4 or 16 bytes in network order; empty if the text is no address. Accepts every form that
/// the resolver accepts ("127.1"), and ignores a zone.
[[nodiscard]] std::string address_bytes(const std::string& text);
/// Returns the offset of the first byte beyond ASCII in the host of a URL, with or without a
/// scheme; npos: there is none.
[[nodiscard]] std::size_t find_beyond_ascii_in_host(std::string_view url);

/// Whether path and query have only valid characters (RFC 3986 sections 3.3, 3.4).
[[nodiscard]] bool is_resource(std::string_view path, std::string_view query);

/// The longest path of a Unix-domain socket, with the '@' of an abstract name; bytes.
constexpr std::size_t max_socket_path_bytes = 107;
/// Checks the path of a Unix-domain socket. Errors: bad_address.
[[nodiscard]] Result<void> validate_socket_path(std::string_view path);

} // namespace sidecar::http
