// Who one is, as HTTP tells it: RFC 7617 (basic), RFC 6750 (bearer). Without I/O.
#pragma once

#include <string>
#include <string_view>

namespace sidecar::http {

/// RFC 4648 section 4, with padding.
[[nodiscard]] std::string base64(std::string_view bytes);

/// The value of an Authorization field.
[[nodiscard]] std::string basic_authorization(std::string_view user, std::string_view password);

/// Why these cannot be sent so; empty: they can. No part of them stands in it.
[[nodiscard]] std::string judge_basic(std::string_view user, std::string_view password);
[[nodiscard]] std::string judge_bearer(std::string_view token);

} // namespace sidecar::http
