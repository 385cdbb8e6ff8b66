// When to come again, as a refusal says it: RFC 9110 sections 10.2.3 and 5.6.7.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace sidecar::http {

/// An HTTP-date in any of its three forms. `now` tells the century of a year of two digits.
[[nodiscard]] std::optional<std::chrono::sys_seconds> parse_http_date(std::string_view text,
                                                                      std::chrono::sys_seconds now);

/// What a Retry-After field asks for, never below zero nor above a year. A date counts from that
/// of the answer's Date field, for the two clocks may differ, else from `now`.
[[nodiscard]] std::optional<std::chrono::seconds> parse_retry_after(std::string_view retry_after,
                                                                    std::string_view date,
                                                                    std::chrono::sys_seconds now);

} // namespace sidecar::http
