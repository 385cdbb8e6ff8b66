#include "base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace sidecar::detail {
namespace {

/// Returns the size of the first character; 0: it is not valid UTF-8.
std::size_t character_bytes(std::string_view text)
{
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto first = byte(0);
    const std::size_t size = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
    if (size == 0 || size > text.size())
        return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((byte(i) & 0xc0) != 0x80)
            return 0;
    // Overlong form, surrogate, or above U+10FFFF
    const bool is_bad = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f)
                        || (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f);
    return is_bad ? 0 : size;
}

} // namespace

bool equal_in_any_case(std::string_view a, std::string_view b) noexcept
{
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [&](char c, char d) { return lower(c) == lower(d); });
}

std::string clean_utf8(std::string_view text)
{
    std::string clean;
    clean.reserve(text.size());
    while (!text.empty()) {
        const auto bytes = character_bytes(text);
        clean += bytes != 0 ? text.substr(0, bytes) : std::string_view{"\xef\xbf\xbd"};
        text.remove_prefix(bytes != 0 ? bytes : 1);
    }
    return clean;
}

std::string in_seconds(Duration duration)
{
    // Not -duration: the smallest value has no positive counterpart
    const auto count = static_cast<std::uint64_t>(duration.count());
    const bool is_negative = duration < Duration{};
    const auto nanoseconds = is_negative ? 0 - count : count;
    constexpr std::uint64_t second = 1'000'000'000;
    auto text = fmt::format("{}{}", is_negative ? "-" : "", nanoseconds / second);
    if (nanoseconds % second != 0) {
        text += fmt::format(".{:09}", nanoseconds % second);
        text.erase(text.find_last_not_of('0') + 1);
    }
    return text;
}

std::string readable(Duration duration)
{
    using namespace std::chrono;
    const auto in = [&](auto unit) {
        return std::chrono::duration<double, typename decltype(unit)::period>(duration).count();
    };
    if (duration < Duration{} || duration < 1us)
        return fmt::format("{} ns", duration.count());
    if (duration < 1ms)
        return fmt::format("{:.1f} us", in(microseconds{}));
    if (duration < 1s)
        return fmt::format("{:.2f} ms", in(milliseconds{}));
    if (duration < 1min)
        return fmt::format("{:.2f} s", in(seconds{}));
    if (duration < 1h)
        return fmt::format("{} min {:02} s", duration_cast<minutes>(duration).count(),
                           duration_cast<seconds>(duration).count() % 60);
    return fmt::format("{} h {:02} min", duration_cast<hours>(duration).count(),
                       duration_cast<minutes>(duration).count() % 60);
}

} // namespace sidecar::detail
