// to_json: the library's reports as JSON, for programs.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <string>

namespace sidecar {

/// Returns one JSON object (RFC 8259) on one line, without a line end. Its names are the members'
/// names; a duration's name ends in _seconds, and its value is exact to the nanosecond. Absent
/// values are null. Bytes of a text that are not UTF-8 become U+FFFD. Side: any thread; pure.
[[nodiscard]] SIDECAR_API std::string to_json(const Stats& stats);
[[nodiscard]] SIDECAR_API std::string to_json(const StopReport& report);
[[nodiscard]] SIDECAR_API std::string to_json(const Failure& failure);
[[nodiscard]] SIDECAR_API std::string to_json(const ErrorLog& log);
/// Contains a message's kind and size, not its payload.
[[nodiscard]] SIDECAR_API std::string to_json(const Event& event);

} // namespace sidecar
