// Printing with fmt, in one place: fmt::print("{}", ...) for all reports of the library.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <fmt/core.h>

#include <algorithm>
#include <concepts>
#include <string>
#include <string_view>

namespace sidecar::detail {

/// Throws fmt::format_error. Not constexpr, so that the compiler's error shows this name when it
/// checks a format string.
[[noreturn]] SIDECAR_API void there_is_no_form_but_l_and_t();

template <class T, class... Types>
concept one_of = (std::same_as<T, Types> || ...);

template <class T>
concept reported =
    one_of<T, Failure, StopReport, Stats, ConnectTrace, ErrorLog, Event, State, Verdict>;

} // namespace sidecar::detail

namespace fmt {

/// Formats the library's reports: `{}` is to_string(), or a failure's message(); `{:l}` one line;
/// `{:t}` a table or several lines, if the type has them. Any other form is fmt::format_error, at
/// compile time or at run time. Does not use format_to: clang 14 mangles its name differently from
/// the g++ that built the system's fmt.
template <sidecar::detail::reported T>
struct formatter<T> {
    constexpr auto parse(format_parse_context& ctx)
    {
        auto at = ctx.begin();
        if (at != ctx.end() && (*at == 'l' || *at == 't'))
            form = *at++;
        if (at != ctx.end() && *at != '}')
            sidecar::detail::there_is_no_form_but_l_and_t();
        return at;
    }
    template <class FormatContext>
    auto format(const T& value, FormatContext& ctx) const
    {
        const std::string text{text_of(value)};
        return std::copy(text.begin(), text.end(), ctx.out());
    }

    char form = '\0';

private:
    auto text_of(const T& value) const
    {
        if constexpr (std::same_as<T, sidecar::Failure>) {
            return value.message();
        } else {
            if constexpr (requires { to_line(value); })
                if (form == 'l')
                    return to_line(value);
            if constexpr (requires { to_table(value); })
                if (form == 't')
                    return to_table(value);
            return to_string(value);
        }
    }
};

} // namespace fmt
