// ErrorLog: each different failure of a run, once.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace sidecar {

/// Failures that are equal in error, attempt, endpoint, cause, close code and HTTP status. Their
/// explanations and links may differ.
struct ErrorLogEntry {
    Failure failure; ///< the latest; will_retry() is false, for no call returned it
    std::uint64_t count = 0;
    TimePoint first_at{}, last_at{}; ///< on the sidecar's clock
    /// The same by the calendar; virtual time counts from 1970.
    std::chrono::system_clock::time_point first_time{}, last_time{};
};

/// The different failures of a run, in the order of their first occurrence.
struct ErrorLog {
    std::vector<ErrorLogEntry> entries; ///< at most 64
    std::uint64_t others = 0;           ///< failures that found no entry
};

/// One line for each entry, and one for the others.
[[nodiscard]] SIDECAR_API std::string to_string(const ErrorLog& log);
/// All in one line, for a log.
[[nodiscard]] SIDECAR_API std::string to_line(const ErrorLog& log);

} // namespace sidecar
