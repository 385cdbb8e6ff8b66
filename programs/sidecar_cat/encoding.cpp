#include "encoding.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iterator>

namespace sidecar_cat {
namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t no_digit = 255;

std::uint8_t byte_at(std::string_view bytes, std::size_t at) noexcept
{
    return static_cast<std::uint8_t>(bytes[at]);
}

std::uint8_t hex_value(char c) noexcept
{
    if (c >= '0' && c <= '9')
        return static_cast<std::uint8_t>(c - '0');
    if (c >= 'a' && c <= 'f')
        return static_cast<std::uint8_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F')
        return static_cast<std::uint8_t>(c - 'A' + 10);
    return no_digit;
}

std::uint8_t base64_value(char c) noexcept
{
    const auto at = base64_digits.find(c);
    return at == std::string_view::npos ? no_digit : static_cast<std::uint8_t>(at);
}

void append_escaped_byte(std::string& out, std::uint8_t byte)
{
    out += "\\x";
    out += hex_digits[byte >> 4];
    out += hex_digits[byte & 15];
}

/// C0, DEL, and C1 in its UTF-8 form.
bool is_control(std::string_view character) noexcept
{
    const auto first = byte_at(character, 0);
    if (character.size() == 2)
        return first == 0xc2 && byte_at(character, 1) < 0xa0;
    return character.size() == 1 && (first < 0x20 || first == 0x7f);
}

} // namespace

void append_hex(std::string& out, std::string_view bytes)
{
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        out += hex_digits[byte_at(bytes, at) >> 4];
        out += hex_digits[byte_at(bytes, at) & 15];
    }
}

void append_base64(std::string& out, std::string_view bytes)
{
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        const auto left = bytes.size() - at;
        const std::uint32_t group = std::uint32_t{byte_at(bytes, at)} << 16
                                    | (left > 1 ? std::uint32_t{byte_at(bytes, at + 1)} << 8 : 0)
                                    | (left > 2 ? std::uint32_t{byte_at(bytes, at + 2)} : 0);
        out += base64_digits[group >> 18];
        out += base64_digits[group >> 12 & 63];
        out += left > 1 ? base64_digits[group >> 6 & 63] : '=';
        out += left > 2 ? base64_digits[group & 63] : '=';
    }
}

void append_json_string(std::string& out, std::string_view text)
{
    out += '"';
    std::size_t plain_from = 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
        auto byte = byte_at(text, at);
        // JSON lets C1 pass, but a terminal obeys it.
        const bool is_c1 = byte == 0xc2 && is_control(text.substr(at, 2));
        if (!is_c1 && byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
            continue;
        out += text.substr(plain_from, at - plain_from);
        if (is_c1)
            byte = byte_at(text, ++at); // the character's number, as it happens
        plain_from = at + 1;
        switch (static_cast<char>(byte)) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\t': out += "\\t"; break;
        default: fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte); break;
        }
    }
    out += text.substr(plain_from);
    out += '"';
}

void append_for_terminal(std::string& out, std::string_view text)
{
    while (!text.empty()) {
        const auto size = utf8_character_size(text);
        const auto character = text.substr(0, size == 0 ? 1 : size);
        const bool is_shown =
            size != 0 && (!is_control(character) || character == "\n" || character == "\t");
        if (is_shown)
            out += character;
        else
            for (std::size_t at = 0; at < character.size(); ++at)
                append_escaped_byte(out, byte_at(character, at));
        text.remove_prefix(character.size());
    }
}

std::optional<std::string> decode_hex(std::string_view text)
{
    std::string result;
    std::uint8_t high = no_digit;
    for (const char c : text) {
        if (c == ' ' && high == no_digit)
            continue;
        const auto value = hex_value(c);
        if (value == no_digit)
            return std::nullopt;
        if (high == no_digit) {
            high = value;
        } else {
            result += static_cast<char>(high << 4 | value);
            high = no_digit;
        }
    }
    if (high != no_digit)
        return std::nullopt;
    return result;
}

std::optional<std::string> decode_base64(std::string_view text)
{
    const auto padded_size = text.size();
    while (!text.empty() && padded_size - text.size() < 2 && text.back() == '=')
        text.remove_suffix(1);
    const bool is_padded = text.size() != padded_size;
    if (text.size() % 4 == 1 || (is_padded && padded_size % 4 != 0))
        return std::nullopt;
    std::string result;
    std::uint32_t group = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const auto value = base64_value(c);
        if (value == no_digit)
            return std::nullopt;
        group = (group << 6 | value) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            result += static_cast<char>(group >> bits & 0xff);
        }
    }
    if ((group & ((1u << bits) - 1)) != 0) // bits that belong to no byte
        return std::nullopt;
    return result;
}

std::size_t utf8_character_size(std::string_view bytes) noexcept
{
    if (bytes.empty())
        return 0;
    const auto first = byte_at(bytes, 0);
    if (first < 0x80)
        return 1;
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || bytes.size() < size)
        return 0;
    // The second byte's range is what excludes overlong forms, surrogates and what lies too high.
    const std::uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const std::uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (byte_at(bytes, 1) < least || byte_at(bytes, 1) > most)
        return 0;
    for (std::size_t at = 2; at < size; ++at)
        if ((byte_at(bytes, at) & 0xc0) != 0x80)
            return 0;
    return size;
}

bool is_utf8(std::string_view bytes) noexcept
{
    while (!bytes.empty()) {
        const auto size = utf8_character_size(bytes);
        if (size == 0)
            return false;
        bytes.remove_prefix(size);
    }
    return true;
}

} // namespace sidecar_cat
