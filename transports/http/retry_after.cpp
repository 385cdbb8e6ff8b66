#include "retry_after.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>

namespace sidecar::http {
namespace {

namespace chrono = std::chrono;

constexpr auto longest = chrono::seconds{chrono::hours{24} * 365};

struct Date {
    int year = 0, day = 0, hour = 0, minute = 0, second = 0;
    std::array<char, 4> month{};
};

std::optional<chrono::sys_seconds> to_time(const Date& date)
{
    constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const auto at = months.find(date.month.data());
    if (at == months.npos || at % 3 != 0 || std::string_view{date.month.data()}.size() != 3)
        return {};
    const auto day = chrono::year{date.year} / static_cast<int>(at / 3 + 1) / date.day;
    const auto is_within = [](int value, int last) { return value >= 0 && value <= last; };
    if (!day.ok() || !is_within(date.hour, 23) || !is_within(date.minute, 59)
        || !is_within(date.second, 60)) // a leap second
        return {};
    return chrono::sys_days{day} + chrono::hours{date.hour} + chrono::minutes{date.minute}
           + chrono::seconds{date.second};
}

/// RFC 9110 section 5.6.7: more than 50 years ahead means the past.
int full_year(int two_digits, chrono::sys_seconds now)
{
    const chrono::year_month_day today{chrono::floor<chrono::days>(now)};
    const auto this_year = static_cast<int>(today.year());
    const auto year = this_year / 100 * 100 + two_digits;
    return year > this_year + 50 ? year - 100 : year;
}

} // namespace

std::optional<chrono::sys_seconds> parse_http_date(std::string_view text, chrono::sys_seconds now)
{
    const std::string copy{text.substr(0, 64)};
    const char* const from = copy.c_str();
    Date d;
    int end = 0; // set by %n, so only if all before it was there
    if (std::sscanf(from, "%*3[A-Za-z], %2d %3s %4d %2d:%2d:%2d GMT%n", &d.day, d.month.data(),
                    &d.year, &d.hour, &d.minute, &d.second, &end)
            == 6
        && end != 0)
        return to_time(d);
    if (std::sscanf(from, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &d.day,
                    d.month.data(), &d.year, &d.hour, &d.minute, &d.second, &end)
            == 6
        && end != 0) {
        d.year = full_year(d.year, now);
        return to_time(d);
    }
    if (std::sscanf(from, "%*3[A-Za-z] %3s %2d %2d:%2d:%2d %4d%n", d.month.data(), &d.day, &d.hour,
                    &d.minute, &d.second, &d.year, &end)
            == 6
        && end != 0)
        return to_time(d);
    return {};
}

std::optional<chrono::seconds> parse_retry_after(std::string_view retry_after,
                                                 std::string_view date, chrono::sys_seconds now)
{
    const bool is_number = !retry_after.empty()
                           && std::all_of(retry_after.begin(), retry_after.end(),
                                          [](char c) { return c >= '0' && c <= '9'; });
    if (is_number) {
        std::int64_t seconds = 0;
        const auto [end, ec] =
            std::from_chars(retry_after.data(), retry_after.data() + retry_after.size(), seconds);
        return ec == std::errc{} ? std::min(chrono::seconds{seconds}, longest) : longest;
    }
    const auto until = parse_http_date(retry_after, now);
    if (!until)
        return {};
    const auto from = parse_http_date(date, now).value_or(now);
    return std::clamp(*until - from, chrono::seconds{0}, longest);
}

} // namespace sidecar::http
