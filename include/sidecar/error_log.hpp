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

/// Failures that are the same but for their words: one code, attempted on one endpoint, with one
/// cause, close code and HTTP status.
struct ErrorLogEntry {
    Failure failure; ///< the latest
    std::uint64_t count = 0;
    TimePoint first_at{}, last_at{}; ///< on the sidecar's clock
    /// The same by the calendar; on virtual time counted from 1970.
    std::chrono::system_clock::time_point first_time{}, last_time{};
};

/// What went wrong during a run, in the order in which it first did.
struct ErrorLog {
    std::vector<ErrorLogEntry> entries; ///< at most 64
    std::uint64_t others = 0;           ///< failures of further kinds
};

/// One line for each entry, and one for the others.
[[nodiscard]] SIDECAR_API std::string to_string(const ErrorLog& log);
/// All in one line, for a log.
[[nodiscard]] SIDECAR_API std::string to_line(const ErrorLog& log);

} // namespace sidecar
