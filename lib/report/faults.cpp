#include <sidecar/faults.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <locale>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

namespace sidecar {
namespace {

template <class T>
struct Key {
    std::string_view name;
    T Faults::*member;
};

constexpr std::array<Key<double>, 8> rates{{{"latency", &Faults::latency},
                                            {"short_read", &Faults::short_read},
                                            {"short_write", &Faults::short_write},
                                            {"pause", &Faults::pause},
                                            {"reset", &Faults::reset},
                                            {"refuse", &Faults::refuse},
                                            {"stall", &Faults::stall},
                                            {"late_pong", &Faults::late_pong}}};
constexpr std::array<Key<Duration>, 3> durations{{{"max_latency", &Faults::max_latency},
                                                  {"max_pause", &Faults::max_pause},
                                                  {"max_pong_delay", &Faults::max_pong_delay}}};

/// The largest first.
constexpr std::array<std::pair<std::string_view, Duration>, 4> units{
    {{"s", std::chrono::seconds{1}},
     {"ms", std::chrono::milliseconds{1}},
     {"us", std::chrono::microseconds{1}},
     {"ns", std::chrono::nanoseconds{1}}}};

Failure bad(std::string why)
{
    return {Error::bad_options, {.attempted = "read the faults", .explanation = std::move(why)}};
}

Failure bad(std::string_view key, std::string_view wants)
{
    return bad(fmt::format("{} must be {}", key, wants));
}

constexpr std::string_view rate_form = "a number from 0 to 1";
constexpr std::string_view duration_form = "a duration with a unit, such as 200ms";

/// `text` may come from a wrong variable and be a secret.
std::string show_key(std::string_view text, std::size_t position)
{
    constexpr std::size_t max_bytes = 24;
    const bool is_word = !text.empty() && text.size() <= max_bytes
                         && std::all_of(text.begin(), text.end(),
                                        [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
    return is_word ? fmt::format("\"{}\"", text) : fmt::format("of entry {}", position);
}

/// Not from_chars(): libc++ 19 has none for doubles.
std::optional<double> parse_number(std::string_view text)
{
    std::istringstream stream{std::string{text}};
    stream.imbue(std::locale::classic());
    double value = 0;
    if (!(stream >> std::noskipws >> value)
        || stream.peek() != std::istringstream::traits_type::eof())
        return {};
    return value;
}

std::optional<Duration> parse_duration(std::string_view text)
{
    const auto unit_at = std::min(text.find_last_of("0123456789.") + 1, text.size());
    const auto number = parse_number(text.substr(0, unit_at));
    const auto* const unit = std::find_if(units.begin(), units.end(), [&](const auto& one) {
        return one.first == text.substr(unit_at);
    });
    if (!number || unit == units.end())
        return {};
    const auto ticks = *number * static_cast<double>(unit->second.count());
    if (!(ticks >= 0 && ticks < static_cast<double>(Duration::max().count())))
        return {};
    return Duration{static_cast<Duration::rep>(ticks + 0.5)};
}

/// Sets the member of this name; returns false if there is none.
Result<bool> set(Faults& faults, std::string_view key, std::string_view value)
{
    if (key == "seed") {
        const auto* const end = value.data() + value.size();
        const auto [at, ec] = std::from_chars(value.data(), end, faults.seed);
        if (value.empty() || at != end || ec != std::errc{})
            return bad(key, "a whole number below 2^64");
        return true;
    }
    for (const auto& [name, member] : rates)
        if (key == name) {
            const auto rate = parse_number(value);
            if (!rate)
                return bad(key, rate_form);
            faults.*member = *rate;
            return true;
        }
    for (const auto& [name, member] : durations)
        if (key == name) {
            const auto duration = parse_duration(value);
            if (!duration)
                return bad(key, duration_form);
            faults.*member = *duration;
            return true;
        }
    return false;
}

std::string_view trimmed(std::string_view text)
{
    const auto first = text.find_first_not_of(" \t");
    return first == text.npos ? std::string_view{}
                              : text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

} // namespace

Result<void> check_faults(const Faults& faults)
{
    for (const auto& [name, member] : rates)
        if (!(faults.*member >= 0 && faults.*member <= 1)) // no NaN either
            return bad(name, rate_form);
    for (const auto& [name, member] : durations)
        if (faults.*member < Duration{} || faults.*member > std::chrono::hours{365 * 24})
            return bad(name, "from zero to a year");
    return {};
}

Result<Faults> parse_faults(std::string_view text)
{
    Faults faults;
    if (trimmed(text).empty())
        return faults;
    std::vector<std::string_view> seen;
    for (auto rest = std::optional{text}; rest;) {
        const auto comma = rest->find(',');
        const auto entry = trimmed(rest->substr(0, comma));
        rest = comma == rest->npos ? std::nullopt : std::optional{rest->substr(comma + 1)};
        const auto position = seen.size() + 1;
        const auto equals = entry.find('=');
        if (equals == entry.npos)
            return bad(fmt::format("entry {} is not of the form key=value", position));
        const auto key = trimmed(entry.substr(0, equals));
        if (std::find(seen.begin(), seen.end(), key) != seen.end())
            return bad(fmt::format("the key {} is there twice", show_key(key, position)));
        seen.push_back(key);
        const auto is_known = set(faults, key, trimmed(entry.substr(equals + 1)));
        if (!is_known)
            return is_known.error();
        if (!*is_known)
            return bad(fmt::format("the key {} is unknown; the keys are the members of Faults",
                                   show_key(key, position)));
    }
    if (const auto valid = check_faults(faults); !valid)
        return valid.error();
    return faults;
}

std::string to_string(const Faults& faults)
{
    const Faults defaults;
    auto text = fmt::format("seed={}", faults.seed);
    for (const auto& [name, member] : rates)
        if (faults.*member > 0)
            text += fmt::format(",{}={}", name, faults.*member);
    for (const auto& [name, member] : durations) {
        const auto value = faults.*member;
        if (value == defaults.*member)
            continue;
        const auto* const unit = std::find_if(units.begin(), units.end() - 1, [&](const auto& one) {
            return value % one.second == Duration{};
        });
        text += fmt::format(",{}={}{}", name, value / unit->second, unit->first);
    }
    return text;
}

} // namespace sidecar
