// What an answer says, for people: shared by whoever is refused. Without I/O.
#pragma once

#include "http_head.hpp"
#include "secrets.hpp"

#include <sidecar/error.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace sidecar::http {

/// How much of what the peer says is shown; bytes.
constexpr std::size_t shown_bytes = 200;

/// The first value of a field; empty: there is none. Lifetime: that of the head.
[[nodiscard]] std::string_view first_value(const HttpHead& head, std::string_view name);
/// Whether one of the elements is this, ignoring case.
[[nodiscard]] bool contains(const std::vector<std::string_view>& elements, std::string_view name);

/// The peer's words in quotes, without our secrets, and not more than a few.
[[nodiscard]] std::string quote(std::string_view text, const Secrets& secrets);

/// "HTTP 403 Forbidden, Retry-After: 5 s: "no""; `body` is what came behind the head.
[[nodiscard]] std::string describe(const HttpHead& head, std::string_view body,
                                   const Secrets& secrets);
/// Status, Location and Retry-After, for programs.
[[nodiscard]] FailureDetails details_of(const HttpHead& head);

/// What came in place of HTTP/1.x, and what it may be: `it begins with "SSH-2.0"; this is an SSH
/// server`. `first` and `rest` are the bytes that came.
[[nodiscard]] std::string describe_not_http(std::string_view first, std::string_view rest,
                                            const Secrets& secrets, std::string_view hint_for_tls);

} // namespace sidecar::http
