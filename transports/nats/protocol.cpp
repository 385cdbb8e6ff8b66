#include "protocol.hpp"

#include "jetstream.hpp"
#include "text.hpp"
#include "uri.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace sidecar::nats {

namespace {

constexpr std::string_view line_end = "\r\n";
constexpr std::string_view blanks = " \t";
constexpr std::string_view header_version = "NATS/1.0";
/// The longest line of the server's; INFO names the whole cluster.
constexpr std::size_t max_line_bytes = 16u << 10, max_info_bytes = 256u << 10;
/// Three insertions cost more than copying a payload of so many bytes once more.
constexpr std::size_t max_joined_bytes = 256;
/// More headers of one message are left out.
constexpr std::size_t max_headers = 1000;

void append(std::vector<std::byte>& out, std::string_view text)
{
    const auto bytes = std::as_bytes(std::span{text});
    out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_number(std::string& out, std::size_t number)
{
    std::array<char, 20> digits;
    out.append(digits.data(), std::to_chars(digits.begin(), digits.end(), number).ptr);
}

/// Removes the first word from `text` and returns it; empty: there is none.
std::string_view next_word(std::string_view& text)
{
    text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
    const auto word = text.substr(0, text.find_first_of(blanks));
    text.remove_prefix(word.size());
    return word;
}

std::optional<std::size_t> parse_size(std::string_view digits)
{
    const auto value = parse_number(digits);
    return value && *value <= UINT32_MAX ? value : std::nullopt; // servers send at most 64 MiB
}

/// Removes the first line from `block` and returns it without its end.
std::string_view next_line(std::string_view& block)
{
    const auto end = std::min(block.find(line_end), block.size());
    const auto line = block.substr(0, end);
    block.remove_prefix(std::min(end + line_end.size(), block.size()));
    return line;
}

/// Appends what is readable in a block of headers.
void parse_headers(std::string_view block, std::vector<Header>& headers)
{
    auto status = next_line(block);
    if (!status.starts_with(header_version))
        return;
    status.remove_prefix(header_version.size());
    if (const auto code = next_word(status); !code.empty())
        headers.push_back({"Status", code});
    if (status = trimmed(status, blanks); !status.empty())
        headers.push_back({"Description", status});
    while (!block.empty() && headers.size() < max_headers) {
        const auto line = next_line(block);
        const auto colon = line.find(':');
        if (colon != line.npos && colon != 0)
            headers.push_back({line.substr(0, colon), trimmed(line.substr(colon + 1), blanks)});
    }
}

} // namespace

// --- texts

std::string_view trimmed(std::string_view text, std::string_view of) noexcept
{
    text.remove_prefix(std::min(text.find_first_not_of(of), text.size()));
    return text.substr(0, text.find_last_not_of(of) + 1);
}

std::optional<std::uint64_t> parse_number(std::string_view digits) noexcept
{
    std::uint64_t value = 0;
    const auto end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, value);
    return read.ec == std::errc{} && read.ptr == end ? std::optional{value} : std::nullopt;
}

// --- lines of the server

Failure violation(std::string_view what, std::string_view bytes)
{
    return {Error::protocol_violation,
            {.attempted = "read",
             .explanation = fmt::format("the server sent {}: {}", what, http::quote(bytes, 100))}};
}

Result<ServerInfo> parse_info(std::string_view json)
{
    simdjson::dom::parser parser;
    simdjson::dom::object object;
    if (parser.parse(json.data(), json.size()).get(object) != simdjson::SUCCESS)
        return violation("an INFO that is no JSON object", json);
    ServerInfo info;
    std::uint64_t max_payload = 0;
    simdjson::dom::array urls;
    std::string_view text;
    // Leaves `to` as it is if the field is missing or of another type
    const auto get = [&object](const char* name, auto& to) {
        return object[name].get(to) == simdjson::SUCCESS;
    };
    get("max_payload", max_payload);
    info.max_payload = max_payload;
    get("headers", info.has_headers);
    get("tls_required", info.is_tls_required);
    get("tls_available", info.is_tls_available);
    get("ldm", info.is_lame_duck);
    if (get("nonce", text))
        info.nonce = text;
    if (get("connect_urls", urls))
        for (const auto url : urls)
            if (url.get(text) == simdjson::SUCCESS)
                info.connect_urls.emplace_back(text);
    for (const auto& [name, value] : object)
        if (value.get(text) != simdjson::SUCCESS && !value.is_array() && !value.is_object())
            info.facts.emplace_back(name, simdjson::minify(value));
        else if (value.is_string() && name != "nonce")
            info.facts.emplace_back(name, text);
    return info;
}

std::optional<Error> judge_error(std::string_view text)
{
    const auto lower = http::lower(text);
    for (const auto* goes_on : {"permissions violation", "invalid subject",
                                "invalid publish subject", "maximum subscriptions exceeded"})
        if (lower.starts_with(goes_on))
            return std::nullopt;
    if (lower.starts_with("authorization violation")
        || lower.starts_with("user authentication revoked"))
        return Error::login_refused;
    return lower.starts_with("maximum payload") ? Error::too_big : Error::closed_by_peer;
}

void Decoder::obey(std::string_view line, Sink& sink)
{
    auto text = line;
    const auto name = next_word(text);
    text = trimmed(text, blanks);
    if (name == "PING")
        return control_.on_ping();
    if (name == "PONG")
        return control_.on_pong(sink);
    if (name == "INFO")
        return control_.on_info(parse_info(text).value());
    if (name == "-ERR") {
        const bool is_quoted = text.size() >= 2 && text.front() == '\'' && text.back() == '\'';
        return control_.on_error(is_quoted ? text.substr(1, text.size() - 2) : text);
    }
    if (name != "+OK")
        throw Exception{violation("an unknown line", line)};
}

// --- messages of the server

Decoder::Head Decoder::parse_head(std::string_view line) const
{
    auto rest = line;
    const std::size_t sizes = next_word(rest) == "HMSG" ? 2 : 1;
    std::array<std::string_view, 6> words{};
    std::size_t count = 0;
    while (count < words.size() && !(words[count] = next_word(rest)).empty())
        ++count;
    if (count != 2 + sizes && count != 3 + sizes) // subject, number, and maybe the reply
        throw Exception{violation("a message's head with too few or too many words", line)};
    const auto total = parse_size(words[count - 1]);
    const auto of_headers = sizes == 2 ? parse_size(words[count - 2]) : 0;
    if (!total || !of_headers || *of_headers > *total)
        throw Exception{violation("a message's head with wrong sizes", line)};
    if (*total > max_message_bytes_)
        throw Exception{
            Failure{Error::too_big,
                    {.attempted = "read",
                     .explanation = fmt::format("a message of {} bytes; with the option "
                                                "max_message_bytes as it is, {} are the limit",
                                                *total, max_message_bytes_)}}};
    return {words[0], count == 3 + sizes ? words[2] : std::string_view{}, *of_headers, *total};
}

Envelope Decoder::envelope_of(const Head& head, std::string_view header_block)
{
    headers_.clear();
    parse_headers(header_block, headers_);
    return {.topic = head.subject, .reply_to = head.reply_to, .headers = headers_};
}

stream::DecodeResult Decoder::decode(std::span<const std::byte> unread, Sink& sink)
{
    const auto all = text_of(unread);
    stream::DecodeResult pass;
    for (;;) {
        const auto rest = all.substr(pass.consumed_bytes);
        const auto newline = rest.find('\n', looked_at_);
        if (std::min(newline, rest.size())
            > (rest.starts_with("INFO") ? max_info_bytes : max_line_bytes))
            throw Exception{violation("a line that is too long", rest)};
        looked_at_ = newline == rest.npos ? rest.size() : 0;
        if (newline == rest.npos)
            return pass;
        if (newline == 0 || rest[newline - 1] != '\r')
            throw Exception{
                violation("a line that does not end in CR LF", rest.substr(0, newline + 1))};
        const auto line = rest.substr(0, newline - 1);
        if (!line.starts_with("MSG ") && !line.starts_with("HMSG ")) {
            pass.consumed_bytes += newline + 1;
            obey(line, sink);
            continue;
        }
        const auto head = parse_head(line);
        const auto payload_at = newline + 1 + head.header_bytes;
        const auto end = newline + 1 + head.total_bytes;
        const auto whole = end + line_end.size();
        if (rest.size() < whole) {
            pass.missing_bytes = whole - rest.size();
            return pass;
        }
        if (rest.substr(end, line_end.size()) != line_end)
            throw Exception{violation("no CR LF behind a message's payload, but",
                                      rest.substr(end, line_end.size()))};
        const auto payload = unread.subspan(pass.consumed_bytes + payload_at, end - payload_at);
        const auto block = rest.substr(newline + 1, head.header_bytes);
        if (!sink.put(MessageKind::binary, payload, envelope_of(head, block))) {
            refused_ = rest.substr(0, payload_at);
            const std::string_view copy{refused_};
            refused_envelope_ =
                envelope_of(parse_head(copy.substr(0, line.size())), copy.substr(newline + 1));
            pass.refused = stream::Fragment{MessageKind::binary, payload, &refused_envelope_};
            pass.refused_bytes = whole;
            return pass;
        }
        pass.put_any = true;
        pass.consumed_bytes += whole;
    }
}

// --- messages of ours

void append_json(std::string& out, std::string_view text)
{
    out += '"';
    for (const char c : text)
        if (static_cast<unsigned char>(c) < 0x20)
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
        else if (c == '"' || c == '\\')
            out.append({'\\', c});
        else
            out += c;
    out += '"';
}

void Encoder::encode(stream::Chunk& chunk, Batch::iterator& at, const Batch::iterator& end)
{
    for (; at != end && !chunk.is_full(); ++at) {
        append(chunk, *at);
        chunk.end_message();
    }
}

void Encoder::append(stream::Chunk& chunk, const MessageView& message)
{
    const auto payload = message.bytes();
    const auto topic = message.topic();
    auto& bytes = chunk.bytes();
    line_.clear();
    if (const auto command = topic.empty() ? parse_command(payload) : std::nullopt) {
        subscriber_.append(line_, *command);
        if (publications_)
            (void)publications_->add(false);
        return nats::append(bytes, line_);
    }
    const auto subject = topic.empty() ? std::string_view{subject_} : topic;
    if (subject.empty())
        throw Exception{
            Failure{Error::bad_message, {.attempted = "send", .explanation = "it has no subject"}}};
    auto reply_to = message.reply_to();
    if (publications_) // one that expects an answer of others, or is for JetStream, has none
        if (const auto its = publications_->add(reply_to.empty() && !subject.starts_with("$JS."));
            !its.empty())
            reply_to = its;
    if (!hears_replies_ && reply_to.starts_with(reply_prefix_)) {
        hears_replies_ = true;
        subscriber_.append(line_, {.subject = reply_prefix_ + '*'});
    }
    const auto headers = message.headers();
    std::size_t header_bytes = 0;
    if (!headers.empty())
        header_bytes = header_version.size() + 2 * line_end.size();
    for (const auto header : headers)
        header_bytes += header.name.size() + header.value.size() + 4;
    line_ += headers.empty() ? std::string_view{"PUB "} : std::string_view{"HPUB "};
    (line_ += subject) += ' ';
    if (!reply_to.empty())
        (line_ += reply_to) += ' ';
    if (!headers.empty()) {
        append_number(line_, header_bytes);
        line_ += ' ';
    }
    append_number(line_, header_bytes + payload.size());
    line_ += line_end;
    if (!headers.empty()) {
        line_.append(header_version).append(line_end);
        for (const auto header : headers)
            line_.append(header.name).append(": ").append(header.value).append(line_end);
        line_ += line_end;
    }
    if (payload.size() <= max_joined_bytes)
        return nats::append(bytes, line_.append(text_of(payload)).append(line_end));
    nats::append(bytes, line_);
    if (payload.size() >= stream::Chunk::min_borrowed_bytes)
        chunk.borrow(payload);
    else
        bytes.insert(bytes.end(), payload.begin(), payload.end());
    nats::append(bytes, line_end);
}

} // namespace sidecar::nats
