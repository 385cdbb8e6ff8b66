// Values of the Authorization field: RFC 7617 (basic), RFC 6750 (bearer). Without I/O.
#pragma once

#include <sidecar/error.hpp>

#include <string>
#include <string_view>

namespace sidecar::http {

/// RFC 4648 section 4, with padding.
[[nodiscard]] std::string base64(std::string_view bytes);

/// The value of an Authorization field.
[[nodiscard]] std::string basic_authorization(std::string_view user, std::string_view password);

/// Errors: bad_options, whose text has no part of them.
[[nodiscard]] Result<void> validate_basic(std::string_view user, std::string_view password);
[[nodiscard]] Result<void> validate_bearer(std::string_view token);

} // namespace sidecar::http
