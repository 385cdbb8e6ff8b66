#include "printable.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sidecar::http {
namespace {

bool is_printable(char c) { return c >= 0x20 && c < 0x7f; }

} // namespace

std::string printable(std::string_view bytes, std::size_t limit_bytes)
{
    std::string text;
    for (const char c : bytes.substr(0, limit_bytes)) {
        if (is_printable(c))
            text += c;
        else if (c == '\r')
            text += "\\r";
        else if (c == '\n')
            text += "\\n";
        else if (c == '\t')
            text += "\\t";
        else
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    if (bytes.size() > limit_bytes)
        text += "...";
    return text;
}

std::string shown(std::string_view bytes, std::size_t limit_bytes)
{
    const auto is_strange = [](char c) {
        return !(is_printable(c) || c == '\r' || c == '\n' || c == '\t');
    };
    const auto begin = bytes.substr(0, limit_bytes);
    const auto strange = std::count_if(begin.begin(), begin.end(), is_strange);
    // A word in another script makes no text unreadable
    if (static_cast<std::size_t>(strange) <= begin.size() / 4)
        return '"' + printable(bytes, limit_bytes) + '"';
    std::string hex;
    for (const char c : begin)
        hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", static_cast<unsigned char>(c));
    if (bytes.size() > limit_bytes)
        hex += " ...";
    return hex;
}

} // namespace sidecar::http
