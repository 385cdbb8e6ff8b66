// Writes JSON (RFC 8259) into a string.
#pragma once

#include "base/text.hpp"

#include <sidecar/clock.hpp>

#include <fmt/format.h>

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sidecar::detail {

/// Puts the commas. The caller opens and closes in pairs, and gives each member of an object a key
/// and then a value. Owned by one call of to_json().
class JsonWriter {
public:
    void begin_object() { open('{'); }
    void end_object() { close('}'); }
    void begin_array() { open('['); }
    void end_array() { close(']'); }
    void key(std::string_view name)
    {
        separate();
        quote(name);
        text_ += ':';
        is_first_ = true; // what follows belongs to it
    }

    void value(std::string_view text)
    {
        separate();
        quote(text);
    }
    void value(const char* text) { value(std::string_view{text}); }
    void value(bool is_true) { raw(is_true ? "true" : "false"); }
    void value(std::integral auto number) { raw(fmt::format("{}", number)); }
    void value(Duration duration) { raw(in_seconds(duration)); }
    void null() { raw("null"); }

    template <class T>
    void member(std::string_view name, const T& content)
    {
        key(name);
        value(content);
    }
    template <class T>
    void member(std::string_view name, const std::optional<T>& content)
    {
        key(name);
        if (content)
            value(*content);
        else
            null();
    }

    [[nodiscard]] std::string text() && { return std::move(text_); }

private:
    void raw(std::string_view text)
    {
        separate();
        text_ += text;
    }
    void open(char bracket)
    {
        separate();
        text_ += bracket;
        is_first_ = true;
    }
    void close(char bracket)
    {
        text_ += bracket;
        is_first_ = false;
    }
    void separate()
    {
        if (!std::exchange(is_first_, false))
            text_ += ',';
    }
    void quote(std::string_view text)
    {
        text_ += '"';
        for (const char c : clean_utf8(text)) {
            const auto code = static_cast<unsigned char>(c);
            if (c == '"' || c == '\\')
                text_ += {'\\', c};
            else if (code < 0x20 || code == 0x7f)
                text_ += fmt::format("\\u{:04x}", code);
            else
                text_ += c;
        }
        text_ += '"';
    }

    std::string text_;
    bool is_first_ = true;
};

} // namespace sidecar::detail
