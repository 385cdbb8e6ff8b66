#include "extensions.hpp"

#include "text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace sidecar::websocket {
namespace {

constexpr std::string_view extension_name = "permessage-deflate";
constexpr int min_bits = 8, max_bits = 15;

/// How much of the peer's words a text shows.
constexpr std::size_t max_shown_bytes = 100;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_same_token(std::string_view a, std::string_view b)
{
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

struct Parameter {
    std::string_view name;
    std::optional<std::string> value; ///< without its quotes
};
struct Element {
    std::string_view name;
    std::vector<Parameter> parameters;
};

/// extension-list of RFC 6455 section 9.1. Empty elements between commas are passed over, as RFC
/// 9110 section 5.6.1.2 wants.
class Parser {
public:
    explicit Parser(std::string_view text) noexcept : rest_{text} {}

    /// Nothing: the text is no such list.
    [[nodiscard]] std::optional<std::vector<Element>> parse()
    {
        std::vector<Element> elements;
        for (skip_space(); !rest_.empty(); skip_space()) {
            if (take(','))
                continue;
            auto element = parse_element();
            if (!element)
                return {};
            elements.push_back(std::move(*element));
            if (!rest_.empty() && rest_.front() != ',')
                return {};
        }
        return elements;
    }

private:
    std::optional<Element> parse_element()
    {
        Element element{.name = token(), .parameters = {}};
        if (element.name.empty())
            return {};
        for (skip_space(); take(';'); skip_space()) {
            skip_space();
            Parameter parameter{.name = token(), .value = {}};
            if (parameter.name.empty())
                return {};
            skip_space();
            if (take('=')) {
                skip_space();
                parameter.value = value();
                if (!parameter.value)
                    return {};
            }
            element.parameters.push_back(std::move(parameter));
        }
        return element;
    }
    std::optional<std::string> value()
    {
        if (!take('"')) {
            const auto text = token();
            return text.empty() ? std::nullopt : std::optional{std::string{text}};
        }
        for (std::string text; !rest_.empty();) {
            if (take('"'))
                return text;
            if (take('\\') && rest_.empty())
                break;
            text += rest_.front();
            rest_.remove_prefix(1);
        }
        return {}; // the quotes do not end
    }
    std::string_view token()
    {
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), [](char c) {
            return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9')
                   || std::string_view{"!#$%&'*+-.^_`|~"}.find(c) != std::string_view::npos;
        });
        const auto text = rest_.substr(0, static_cast<std::size_t>(end - rest_.begin()));
        rest_.remove_prefix(text.size());
        return text;
    }
    bool take(char c)
    {
        if (rest_.empty() || rest_.front() != c)
            return false;
        rest_.remove_prefix(1);
        return true;
    }
    void skip_space()
    {
        rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size()));
    }

    std::string_view rest_; // sidecar side
};

/// Decimal, without leading zeroes, 8 to 15; zero if it is not.
int window_bits(std::string_view value)
{
    constexpr std::array<std::string_view, 8> values{"8", "9", "10", "11", "12", "13", "14", "15"};
    const auto* const found = std::find(values.begin(), values.end(), value);
    return found == values.end() ? 0 : min_bits + static_cast<int>(found - values.begin());
}

/// The parameters of the one answer, each checked as it comes.
class Answer {
public:
    explicit Answer(const CompressionOptions& offered) : offered_{offered} {}

    /// Why it is refused; empty: it is not.
    [[nodiscard]] std::string take(const Parameter& parameter)
    {
        const auto is = [&](std::string_view name) { return is_same_token(parameter.name, name); };
        if (is("server_no_context_takeover"))
            return take_flag(parameter, server_no_context_takeover_);
        if (is("client_no_context_takeover"))
            return take_flag(parameter, client_no_context_takeover_);
        if (is("server_max_window_bits"))
            return take_bits(parameter, offered_.server_max_window_bits, server_bits_);
        if (is("client_max_window_bits"))
            return take_bits(parameter, offered_.client_max_window_bits, client_bits_);
        return fmt::format("it has a parameter of {} that is not known: {}", extension_name,
                           http::quote(parameter.name, max_shown_bytes));
    }
    /// What was demanded and is not granted; empty: nothing.
    [[nodiscard]] std::string find_missing() const
    {
        if (offered_.server_max_window_bits != max_bits && server_bits_ == 0)
            return fmt::format("it takes up {} without the server_max_window_bits that was asked "
                               "for",
                               extension_name);
        if (offered_.server_no_context_takeover && !server_no_context_takeover_)
            return fmt::format("it takes up {} without the server_no_context_takeover that was "
                               "asked for",
                               extension_name);
        return {};
    }
    [[nodiscard]] Deflation deflation() const
    {
        const int granted = client_bits_ == 0 ? max_bits : client_bits_;
        return {.peer_keeps_context = !server_no_context_takeover_,
                .keeps_context =
                    !client_no_context_takeover_ && !offered_.client_no_context_takeover,
                .window_bits = std::min(granted, offered_.client_max_window_bits),
                .level = offered_.level,
                .mem_level = offered_.mem_level,
                .threshold_bytes = offered_.threshold_bytes};
    }

private:
    static std::string take_flag(const Parameter& parameter, bool& flag)
    {
        if (flag)
            return fmt::format("it has {} twice", parameter.name);
        if (parameter.value)
            return fmt::format("{} has a value ({}), and may have none", parameter.name,
                               http::quote(*parameter.value, max_shown_bytes));
        flag = true;
        return {};
    }
    static std::string take_bits(const Parameter& parameter, int most, int& bits)
    {
        if (bits != 0)
            return fmt::format("it has {} twice", parameter.name);
        if (!parameter.value)
            return fmt::format("{} has no value", parameter.name);
        bits = window_bits(*parameter.value);
        if (bits == 0)
            return fmt::format("{} is {}, and must be a number from 8 to 15", parameter.name,
                               http::quote(*parameter.value, max_shown_bytes));
        if (bits > most)
            return fmt::format("{} is {}, and no more than {} was offered", parameter.name, bits,
                               most);
        return {};
    }

    const CompressionOptions& offered_;       // sidecar side
    bool server_no_context_takeover_ = false; // sidecar side
    bool client_no_context_takeover_ = false; // sidecar side
    int server_bits_ = 0;                     // sidecar side; zero: not said
    int client_bits_ = 0;                     // sidecar side; zero: not said
};

} // namespace

Result<void> validate(const CompressionOptions& options)
{
    struct Row {
        const char* name;
        int value, min, max;
    };
    for (const auto& [name, value, min, max] :
         {Row{"server_max_window_bits", options.server_max_window_bits, min_bits, max_bits},
          Row{"client_max_window_bits", options.client_max_window_bits, min_bits, max_bits},
          Row{"level", options.level, 0, 9}, Row{"mem_level", options.mem_level, 1, 9}})
        if (value < min || value > max)
            return http::refuse(
                Error::bad_options,
                fmt::format("compression.{} is {}, and must be {} to {}", name, value, min, max));
    return {};
}

/// client_max_window_bits stands there always: a peer may ask for a smaller window only of a client
/// that knows the parameter (RFC 7692 section 7.1.2.2).
std::string offer_of(const CompressionOptions& options)
{
    std::string offer{extension_name};
    if (options.server_no_context_takeover)
        offer += "; server_no_context_takeover";
    if (options.client_no_context_takeover)
        offer += "; client_no_context_takeover";
    if (options.server_max_window_bits != max_bits)
        offer += fmt::format("; server_max_window_bits={}", options.server_max_window_bits);
    offer += "; client_max_window_bits";
    if (options.client_max_window_bits != max_bits)
        offer += fmt::format("={}", options.client_max_window_bits);
    return offer;
}

Agreement agree(const CompressionOptions& options, std::string_view answer)
{
    const auto elements = Parser{answer}.parse();
    if (!elements)
        return {.fault = fmt::format("its Sec-WebSocket-Extensions cannot be read: {}",
                                     http::quote(answer, max_shown_bytes))};
    for (const auto& element : *elements)
        if (!is_same_token(element.name, extension_name))
            return {.fault = fmt::format("it chose an extension that was not offered: {}",
                                         http::quote(element.name, max_shown_bytes))};
    if (elements->empty())
        return {};
    if (elements->size() > 1)
        return {.fault = fmt::format("it chose {} twice", extension_name)};
    Answer found{options};
    for (const auto& parameter : elements->front().parameters)
        if (auto fault = found.take(parameter); !fault.empty())
            return {.fault = std::move(fault)};
    if (auto fault = found.find_missing(); !fault.empty())
        return {.fault = std::move(fault)};
    return {.deflation = found.deflation()};
}

} // namespace sidecar::websocket
