// All printing with fmt, in one place: fmt::print("{}", ...) of what the library reports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <string>

namespace sidecar::detail {

/// Formats what has a text of its own, and under a letter another one. Not by format_to: clang 14
/// mangles it otherwise than the g++ that built the system's fmt.
template <class T, std::string (*to_text)(const T&), char letter = '\0',
          std::string (*to_other)(const T&) = to_text>
struct TextFormatter {
    constexpr auto parse(fmt::format_parse_context& ctx)
    {
        auto at = ctx.begin();
        if (letter != '\0' && at != ctx.end() && *at == letter) {
            is_other = true;
            ++at;
        }
        return at; // fmt says what it thinks of anything else
    }
    template <class FormatContext>
    auto format(const T& value, FormatContext& ctx) const
    {
        const std::string text = is_other ? to_other(value) : to_text(value);
        return std::copy(text.begin(), text.end(), ctx.out());
    }

    bool is_other = false;
};

[[nodiscard]] inline std::string failure_text(const Failure& failure) { return failure.message(); }

} // namespace sidecar::detail

template <>
struct fmt::formatter<sidecar::Failure>
    : sidecar::detail::TextFormatter<sidecar::Failure, sidecar::detail::failure_text> {};
/// `{}` several lines, `{:l}` one line.
template <>
struct fmt::formatter<sidecar::StopReport>
    : sidecar::detail::TextFormatter<sidecar::StopReport, sidecar::to_string, 'l',
                                     sidecar::to_line> {};
/// `{}` one line, `{:t}` a table.
template <>
struct fmt::formatter<sidecar::Stats>
    : sidecar::detail::TextFormatter<sidecar::Stats, sidecar::to_string, 't', sidecar::to_table> {};
template <>
struct fmt::formatter<sidecar::ConnectTrace>
    : sidecar::detail::TextFormatter<sidecar::ConnectTrace, sidecar::to_string> {};
template <>
struct fmt::formatter<sidecar::ErrorLog>
    : sidecar::detail::TextFormatter<sidecar::ErrorLog, sidecar::to_string> {};
