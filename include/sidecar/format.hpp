// All printing with fmt, in one place: fmt::print("{}", ...) of what the library reports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace sidecar::detail {

/// Throws fmt::format_error. Not constexpr: in a text that is checked while compiling, its name is the
/// compiler's answer.
[[noreturn]] void there_is_no_form_but_l_and_t();

/// Formats what has texts of its own: `{}` as the type's own comment says, `{:l}` one line, `{:t}` a
/// table or several lines, where there is one. Anything else is fmt::format_error, while compiling or
/// when it runs. Not by format_to: clang 14 mangles it otherwise than the g++ that built the system's
/// fmt.
template <class T, auto to_text, auto to_line = to_text, auto to_table = to_text>
struct TextFormatter {
    constexpr auto parse(fmt::format_parse_context& ctx)
    {
        auto at = ctx.begin();
        if (at != ctx.end() && (*at == 'l' || *at == 't'))
            form = *at++;
        if (at != ctx.end() && *at != '}')
            there_is_no_form_but_l_and_t();
        return at;
    }
    template <class FormatContext>
    auto format(const T& value, FormatContext& ctx) const
    {
        const std::string text{form == 'l'   ? to_line(value)
                               : form == 't' ? to_table(value)
                                             : to_text(value)};
        return std::copy(text.begin(), text.end(), ctx.out());
    }

    char form = '\0';
};

template <class T>
using Text = std::string (*)(const T&);
template <class T>
using Name = std::string_view (*)(T) noexcept;
[[nodiscard]] inline std::string failure_text(const Failure& failure) { return failure.message(); }

} // namespace sidecar::detail

/// One line.
template <>
struct fmt::formatter<sidecar::Failure>
    : sidecar::detail::TextFormatter<sidecar::Failure, sidecar::detail::failure_text> {};
/// `{}` and `{:t}` several lines, `{:l}` one line.
template <>
struct fmt::formatter<sidecar::StopReport>
    : sidecar::detail::TextFormatter<sidecar::StopReport,
                                     sidecar::detail::Text<sidecar::StopReport>{sidecar::to_string},
                                     sidecar::detail::Text<sidecar::StopReport>{sidecar::to_line}> {
};
/// `{}` and `{:l}` one line, `{:t}` a table.
template <>
struct fmt::formatter<sidecar::Stats>
    : sidecar::detail::TextFormatter<sidecar::Stats,
                                     sidecar::detail::Text<sidecar::Stats>{sidecar::to_string},
                                     sidecar::detail::Text<sidecar::Stats>{sidecar::to_string},
                                     sidecar::detail::Text<sidecar::Stats>{sidecar::to_table}> {};
/// One line.
template <>
struct fmt::formatter<sidecar::ConnectTrace>
    : sidecar::detail::TextFormatter<
          sidecar::ConnectTrace, sidecar::detail::Text<sidecar::ConnectTrace>{sidecar::to_string}> {
};
/// `{}` and `{:t}` a line for each entry, `{:l}` one line.
template <>
struct fmt::formatter<sidecar::ErrorLog>
    : sidecar::detail::TextFormatter<sidecar::ErrorLog,
                                     sidecar::detail::Text<sidecar::ErrorLog>{sidecar::to_string},
                                     sidecar::detail::Text<sidecar::ErrorLog>{sidecar::to_line}> {};
/// One line.
template <>
struct fmt::formatter<sidecar::Event>
    : sidecar::detail::TextFormatter<sidecar::Event,
                                     sidecar::detail::Text<sidecar::Event>{sidecar::to_string}> {};
/// A word.
template <>
struct fmt::formatter<sidecar::State>
    : sidecar::detail::TextFormatter<sidecar::State,
                                     sidecar::detail::Name<sidecar::State>{sidecar::to_string}> {};
/// A word or two.
template <>
struct fmt::formatter<sidecar::Verdict>
    : sidecar::detail::TextFormatter<sidecar::Verdict,
                                     sidecar::detail::Name<sidecar::Verdict>{sidecar::to_string}> {
};
