// A URI taken apart and its parts validated, RFC 3986. Without I/O. Private to the transports.
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
/// A printing ASCII character that is no space.
[[nodiscard]] bool is_visible(char c) noexcept;
/// RFC 3986 section 2.3.
[[nodiscard]] bool is_unreserved(char c) noexcept;
/// RFC 9110 section 5.6.2.
[[nodiscard]] bool is_token_char(char c) noexcept;

/// ASCII letters only.
[[nodiscard]] std::string lower(std::string_view text);
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b);

/// Cuts `text` at the first of `delimiters`, and returns the part before it. The delimiter stays.
/// Lifetime: that of the text.
[[nodiscard]] std::string_view cut(std::string_view& text, std::string_view delimiters);

/// Each `%41` as the byte that it means; what is no such triplet stays.
[[nodiscard]] std::string percent_decoded(std::string_view text);
/// Whether every '%' begins a triplet.
[[nodiscard]] bool is_percent_encoding_right(std::string_view text);

/// The components of a URI by RFC 3986 appendix B, not validated. Lifetime: views into the text.
///
/// A scheme that ends in "+unix" has a form of its own, "ws+unix:/path/of.sock:/resource?query", for
/// neither a socket's path nor its end can be told in an authority. "ws+unix:///path" is the same.
struct Components {
    std::string_view scheme; ///< empty: there is no "scheme://", nor such a one
    std::optional<std::string_view> user_info{};
    std::string_view host{}; ///< with brackets and zone
    std::optional<std::string_view> port{};
    bool is_unix = false;
    std::string_view socket{}; ///< of a Unix-domain socket, in place of all between
    std::string_view path{};   ///< of the resource; may be empty
    std::optional<std::string_view> query{};
    std::optional<std::string_view> fragment{};
};
[[nodiscard]] Components split(std::string_view text);

/// No value: it is none from 1 to 65535.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view digits);

/// A host, for the resolver and for the Host field.
struct Host {
    std::string name;  ///< no brackets, the zone behind a plain '%'
    std::string field; ///< as given, without the zone (RFC 6874 section 4)
};
/// Errors: bad_address; the explanation names no part of the host.
[[nodiscard]] Result<Host> parse_host(std::string_view host);
/// Whether this can be the name of a host, for any use: in a request, for a look-up, in a
/// certificate. Its parts have 1 to 63 letters, digits, '-' and '_'; a dot may end it. Addresses pass
/// too. Errors: bad_address; the explanation names no part of the host.
[[nodiscard]] Result<void> validate_host_name(std::string_view name);
/// In network order, 4 or 16 bytes; empty if the text is no address. Takes everything that the
/// resolver takes for one ("127.1"); a zone does not count.
[[nodiscard]] std::string address_bytes(const std::string& text);
/// The first byte beyond ASCII in the host of a URL, with or without a scheme, by its place in the
/// URL; npos: there is none.
[[nodiscard]] std::size_t find_beyond_ascii_in_host(std::string_view url);

/// Whether path and query have only characters that they may have (RFC 3986 sections 3.3, 3.4).
[[nodiscard]] bool is_resource(std::string_view path, std::string_view query);

/// The longest path of a Unix-domain socket, with the '@' of an abstract name; bytes.
constexpr std::size_t max_socket_path_bytes = 107;
/// Errors: bad_address for what can be no path of a Unix-domain socket.
[[nodiscard]] Result<void> validate_socket_path(std::string_view path);

} // namespace sidecar::http
