// All printing with fmt, in one place: fmt::print("{}", ...) of what the library reports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <string>

namespace sidecar::detail {

/// Formats what has a text of its own. Not by format_to: clang 14 mangles it otherwise than the g++
/// that built the system's fmt.
template <class T, std::string (*to_text)(const T&)>
struct TextFormatter {
    constexpr auto parse(fmt::format_parse_context& ctx) { return ctx.begin(); }
    template <class FormatContext>
    auto format(const T& value, FormatContext& ctx) const
    {
        const std::string text = to_text(value);
        return std::copy(text.begin(), text.end(), ctx.out());
    }
};

[[nodiscard]] inline std::string failure_text(const Failure& failure) { return failure.message(); }

} // namespace sidecar::detail

template <>
struct fmt::formatter<sidecar::Failure>
    : sidecar::detail::TextFormatter<sidecar::Failure, sidecar::detail::failure_text> {};
template <>
struct fmt::formatter<sidecar::StopReport>
    : sidecar::detail::TextFormatter<sidecar::StopReport, sidecar::to_string> {};
template <>
struct fmt::formatter<sidecar::Stats>
    : sidecar::detail::TextFormatter<sidecar::Stats, sidecar::to_string> {};
