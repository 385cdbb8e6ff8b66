#include "utf8.hpp"

#include <simdjson.h>

#include <algorithm>

namespace sidecar::websocket {

namespace {

/// Returns the octets of a character with this first octet; one for an octet that begins none.
std::size_t length_of_character(std::uint8_t first) noexcept
{
    return first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/// Returns how many octets at the end may begin a character that is cut.
std::size_t cut_bytes(std::span<const std::byte> bytes) noexcept
{
    for (std::size_t back = 1; back <= std::min<std::size_t>(3, bytes.size()); ++back) {
        const auto octet = std::to_integer<std::uint8_t>(bytes[bytes.size() - back]);
        if (octet >= 0xc0)
            return length_of_character(octet) > back ? back : 0;
        if (octet < 0x80)
            return 0;
    }
    return 0;
}

} // namespace

bool detail::is_utf8_at_length(std::span<const std::byte> bytes) noexcept
{
    return simdjson::validate_utf8(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

bool Utf8Parts::accept(std::span<const std::byte> part) noexcept
{
    if (bad_offset_)
        return false;
    while (missing_ != 0 && !part.empty()) {
        if (!step(part.front()))
            return false;
        part = part.subspan(1);
    }
    const auto whole = part.first(part.size() - cut_bytes(part));
    if (!is_utf8(whole))
        return step_all(part); // only to find bad_offset_
    offset_ += whole.size();
    return step_all(part.subspan(whole.size()));
}

bool Utf8Parts::step_all(std::span<const std::byte> octets) noexcept
{
    return std::all_of(octets.begin(), octets.end(),
                       [this](std::byte octet) { return step(octet); });
}

/// Checks one octet. RFC 3629 section 4: only the second octet's range depends on the first.
bool Utf8Parts::step(std::byte byte) noexcept
{
    const auto octet = std::to_integer<std::uint8_t>(byte);
    bool is_good = true;
    if (missing_ != 0) {
        is_good = octet >= lowest_ && octet <= highest_;
        --missing_;
        lowest_ = 0x80, highest_ = 0xbf;
    } else if (octet >= 0x80) {
        is_good = octet >= 0xc2 && octet <= 0xf4;
        missing_ = static_cast<std::uint8_t>(length_of_character(octet) - 1);
        lowest_ = octet == 0xe0 ? 0xa0 : octet == 0xf0 ? 0x90 : 0x80;
        highest_ = octet == 0xed ? 0x9f : octet == 0xf4 ? 0x8f : 0xbf;
    }
    if (!is_good)
        bad_offset_ = offset_;
    ++offset_;
    return is_good;
}

} // namespace sidecar::websocket
