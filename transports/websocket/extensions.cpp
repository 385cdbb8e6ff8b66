#include "extensions.hpp"

#include "text.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace sidecar::websocket {
namespace {

constexpr std::string_view extension_name = "permessage-deflate";
constexpr int min_bits = 8, max_bits = 15;

/// A text shows at most so many bytes of the peer's.
constexpr std::size_t max_shown_bytes = 100;

struct Parameter {
    std::string_view name;
    std::optional<std::string> value; ///< without its quotes
};
struct Element {
    std::string_view name;
    std::vector<Parameter> parameters;
};

/// Parses the extension-list of RFC 6455 section 9.1. Ignores empty elements between commas, as RFC
/// 9110 section 5.6.1.2 demands.
class Parser {
public:
    explicit Parser(std::string_view text) noexcept : rest_{text} {}

    /// Empty: the text is no such list.
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
        return {}; // missing closing quote
    }
    std::string_view token()
    {
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), http::is_token_char);
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

Failure refused(std::string why) { return http::refuse(Error::handshake_refused, std::move(why)); }

Failure not_offered(std::string_view name)
{
    return refused("it chose an extension that was not offered: "
                   + http::quote(name, max_shown_bytes));
}

/// Parses a decimal number without leading zeroes, 8 to 15; zero if it is none.
int window_bits(std::string_view value)
{
    constexpr std::array<std::string_view, 8> values{"8", "9", "10", "11", "12", "13", "14", "15"};
    const auto* const found = std::find(values.begin(), values.end(), value);
    return found == values.end() ? 0 : min_bits + static_cast<int>(found - values.begin());
}

constexpr std::array<std::string_view, 4> parameter_names{
    "server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits",
    "client_max_window_bits"};

/// `max`: the window that was offered; zero: the parameter has no value, and 1 is returned.
Result<int> value_of(const Parameter& parameter, int max)
{
    const auto& [name, value] = parameter;
    if (max == 0 && value)
        return refused(fmt::format("{} has a value ({}), and may have none", name,
                                   http::quote(*value, max_shown_bytes)));
    if (max == 0)
        return 1;
    if (!value)
        return refused(fmt::format("{} has no value", name));
    const int bits = window_bits(*value);
    if (bits == 0)
        return refused(fmt::format("{} is {}, and must be a number from 8 to 15", name,
                                   http::quote(*value, max_shown_bytes)));
    if (bits > max)
        return refused(fmt::format("{} is {}, and no more than {} was offered", name, bits, max));
    return bits;
}

using Values = std::array<int, 4>; ///< by parameter_names; zero: the parameter is missing

/// `max`: as of value_of().
Result<Values> values_of(const std::vector<Parameter>& parameters, const Values& max)
{
    Values values{};
    for (const auto& parameter : parameters) {
        const auto at = static_cast<std::size_t>(
            std::find_if(parameter_names.begin(), parameter_names.end(),
                         [&](auto name) { return http::equal_ignoring_case(parameter.name, name); })
            - parameter_names.begin());
        if (at == parameter_names.size())
            return refused(fmt::format("it has a parameter of {} that is not known: {}",
                                       extension_name,
                                       http::quote(parameter.name, max_shown_bytes)));
        if (values[at] != 0)
            return refused(fmt::format("it has {} twice", parameter.name));
        const auto value = value_of(parameter, max[at]);
        if (!value)
            return value.error();
        values[at] = *value;
    }
    return values;
}

/// Checks the parameters of the answer, and that it grants every demand.
Result<std::optional<Deflation>> agree(const CompressionOptions& offered,
                                       const std::vector<Parameter>& answer)
{
    const auto values =
        values_of(answer, {0, 0, offered.server_max_window_bits, offered.client_max_window_bits});
    if (!values)
        return values.error();
    const auto [server_forgets, client_forgets, server_bits, client_bits] = *values;
    const auto missing =
        offered.server_max_window_bits != max_bits && server_bits == 0 ? parameter_names[2]
        : offered.server_no_context_takeover && server_forgets == 0    ? parameter_names[0]
                                                                       : std::string_view{};
    if (!missing.empty())
        return refused(fmt::format("it takes up {} without the {} that was asked for",
                                   extension_name, missing));
    return std::optional{
        Deflation{.peer_keeps_context = server_forgets == 0,
                  .keeps_context = client_forgets == 0 && !offered.client_no_context_takeover,
                  .window_bits = std::min(client_bits == 0 ? max_bits : client_bits,
                                          offered.client_max_window_bits),
                  .level = offered.level,
                  .mem_level = offered.mem_level,
                  .threshold_bytes = offered.threshold_bytes}};
}

/// Empty: the offer is invalid.
std::optional<Acceptance> accept(const CompressionOptions& options, std::vector<Parameter> offer)
{
    // An offer may name the client's window without a size: the largest
    for (auto& parameter : offer)
        if (http::equal_ignoring_case(parameter.name, parameter_names[3]) && !parameter.value)
            parameter.value = "15";
    const auto values = values_of(offer, {0, 0, max_bits, max_bits});
    if (!values)
        return {};
    const auto [server_forgets, client_forgets, server_bits, client_bits] = *values;
    const Deflation deflation{
        .peer_keeps_context = client_forgets == 0 && !options.client_no_context_takeover,
        .keeps_context = server_forgets == 0 && !options.server_no_context_takeover,
        .window_bits =
            std::min(server_bits == 0 ? max_bits : server_bits, options.server_max_window_bits),
        .level = options.level,
        .mem_level = options.mem_level,
        .threshold_bytes = options.threshold_bytes};
    std::string answer{extension_name};
    if (!deflation.keeps_context)
        answer += "; server_no_context_takeover";
    if (!deflation.peer_keeps_context)
        answer += "; client_no_context_takeover";
    if (server_bits != 0 || deflation.window_bits != max_bits)
        answer += fmt::format("; server_max_window_bits={}", deflation.window_bits);
    if (const auto bits = std::min(client_bits, options.client_max_window_bits);
        bits != 0 && bits != max_bits)
        answer += fmt::format("; client_max_window_bits={}", bits);
    return Acceptance{deflation, std::move(answer)};
}

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

/// Always offers client_max_window_bits: a peer may ask for a smaller window only if the client
/// knows the parameter (RFC 7692 section 7.1.2.2).
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

Result<std::optional<Deflation>> agree(const std::optional<CompressionOptions>& offered,
                                       std::string_view answer)
{
    const auto elements = Parser{answer}.parse();
    if (!elements && !offered)
        return not_offered(answer);
    if (!elements)
        return refused("its Sec-WebSocket-Extensions cannot be read: "
                       + http::quote(answer, max_shown_bytes));
    for (const auto& element : *elements)
        if (!offered || !http::equal_ignoring_case(element.name, extension_name))
            return not_offered(element.name);
    if (elements->empty())
        return std::optional<Deflation>{};
    if (elements->size() > 1)
        return refused(fmt::format("it chose {} twice", extension_name));
    return agree(*offered, elements->front().parameters);
}

Result<std::optional<Acceptance>> accept(const std::optional<CompressionOptions>& options,
                                         std::string_view offers)
{
    const auto elements = Parser{offers}.parse();
    if (!elements)
        return refused("its Sec-WebSocket-Extensions cannot be read: "
                       + http::quote(offers, max_shown_bytes));
    for (const auto& element : *elements)
        if (options && http::equal_ignoring_case(element.name, extension_name))
            if (auto taken = accept(*options, element.parameters))
                return taken;
    return std::optional<Acceptance>{};
}

} // namespace sidecar::websocket
