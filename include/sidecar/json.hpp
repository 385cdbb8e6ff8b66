// to_json: what the library reports, for programs.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <string>

namespace sidecar {

/// One JSON object (RFC 8259) in one line, without a line's end. Its names are those of the members;
/// a duration's ends in _seconds, and its value is exact to the nanosecond. What may be missing is
/// null. What is not UTF-8 in a text becomes U+FFFD. Side: any thread; pure.
[[nodiscard]] SIDECAR_API std::string to_json(const Stats& stats);
[[nodiscard]] SIDECAR_API std::string to_json(const StopReport& report);
[[nodiscard]] SIDECAR_API std::string to_json(const Failure& failure);
[[nodiscard]] SIDECAR_API std::string to_json(const ErrorLog& log);
/// Of a message its kind and size, not what stands in it.
[[nodiscard]] SIDECAR_API std::string to_json(const Event& event);

} // namespace sidecar
