// Authorization header values: RFC 7617 (basic), RFC 6750 (bearer). Without I/O.
#pragma once

#include <sidecar/error.hpp>

#include <string>
#include <string_view>

namespace sidecar::http {

/// Encodes as RFC 4648 section 4, with padding.
[[nodiscard]] std::string base64(std::string_view bytes);

/// Returns the value of an Authorization field.
[[nodiscard]] std::string basic_authorization(std::string_view user, std::string_view password);

/// Check the credentials. Errors: bad_options; its text shows no part of them.
[[nodiscard]] Result<void> validate_basic(std::string_view user, std::string_view password);
[[nodiscard]] Result<void> validate_bearer(std::string_view token);

} // namespace sidecar::http
