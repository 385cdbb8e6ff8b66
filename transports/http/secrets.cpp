#include "secrets.hpp"

#include <algorithm>
#include <cstddef>

namespace sidecar::http {
namespace {

constexpr std::size_t least_bytes = 4;
constexpr std::size_t least_word_bytes = 8;
constexpr std::string_view mask = "***";

} // namespace

void Secrets::add(std::string_view secret)
{
    if (secret.size() < least_bytes)
        return;
    const auto at = std::find_if(secrets_.begin(), secrets_.end(), [&](const std::string& other) {
        return other.size() <= secret.size();
    });
    secrets_.emplace(at, secret);
}

void Secrets::add_field(std::string_view value)
{
    add(value);
    constexpr std::string_view separators = " \t,;=\"";
    for (auto begin = value.find_first_not_of(separators); begin != value.npos;) {
        const auto end = std::min(value.find_first_of(separators, begin), value.size());
        if (end - begin >= least_word_bytes)
            add(value.substr(begin, end - begin));
        begin = value.find_first_not_of(separators, end);
    }
}

std::string Secrets::hide(std::string text) const
{
    for (const auto& secret : secrets_) {
        for (auto at = text.find(secret); at != text.npos; at = text.find(secret, at + mask.size()))
            text.replace(at, secret.size(), mask);
    }
    for (const auto& secret : secrets_) {
        for (auto length = std::min(secret.size(), text.size()); length >= least_bytes; --length) {
            if (text.ends_with(std::string_view{secret}.substr(0, length))) {
                text.replace(text.size() - length, length, mask);
                break;
            }
        }
    }
    return text;
}

} // namespace sidecar::http
