#include "output.hpp"

#include <sidecar/json.hpp>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <iterator>
#include <poll.h>
#include <span>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {
namespace {

/// Returns the bytes of the UTF-8 character at the front; 0: there is none.
std::size_t character_bytes(std::string_view text) noexcept
{
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    if (text.empty() || byte(0) < 0x80)
        return text.empty() ? 0 : 1;
    const std::size_t size = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
    if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < size)
        return 0;
    // The second byte's range excludes overlong forms, surrogates and values above U+10FFFF.
    const int min = byte(0) == 0xe0 ? 0xa0 : byte(0) == 0xf0 ? 0x90 : 0x80;
    const int max = byte(0) == 0xed ? 0x9f : byte(0) == 0xf4 ? 0x8f : 0xbf;
    if (byte(1) < min || byte(1) > max)
        return 0;
    for (std::size_t at = 2; at < size; ++at)
        if ((byte(at) & 0xc0) != 0x80)
            return 0;
    return size;
}

/// C0, DEL, and C1 in its UTF-8 form: terminals obey them.
bool is_control(std::string_view character) noexcept
{
    const auto first = static_cast<unsigned char>(character[0]);
    if (character.size() == 2)
        return first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
    return character.size() == 1 && (first < 0x20 || first == 0x7f);
}

template <class... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args)
{
    fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

void append_hex(std::string& out, std::span<const std::byte> bytes)
{
    constexpr auto* digits = "0123456789abcdef";
    for (const auto byte : bytes)
        out.append(
            {digits[static_cast<unsigned>(byte) >> 4], digits[static_cast<unsigned>(byte) & 15]});
}

/// Calls `append_one(character)` for each character, and `append_bad(byte)` for each other byte.
template <class One, class Bad>
void for_each_character(std::string_view text, One append_one, Bad append_bad)
{
    while (!text.empty()) {
        const auto size = character_bytes(text);
        if (size != 0)
            append_one(text.substr(0, size));
        else
            append_bad(static_cast<unsigned char>(text[0]));
        text.remove_prefix(std::max<std::size_t>(size, 1));
    }
}

void append_field(std::string& out, std::string_view name, std::string_view value)
{
    append(out, ",\"{}\":", name);
    append_json_string(out, value);
}

} // namespace

void complain(const Settings& settings, std::string_view text) noexcept
{
    if (settings.is_quiet)
        return;
    const auto part = [](std::string_view of) {
        return ::iovec{const_cast<char*>(of.data()), of.size()};
    };
    const ::iovec parts[] = {part("sidecar-cat: "), part(text), part("\n")};
    [[maybe_unused]] const auto wrote = ::writev(STDERR_FILENO, parts, 3);
}

bool is_utf8(std::string_view text) noexcept
{
    bool is_good = true;
    for_each_character(
        text, [](auto) {}, [&](auto) { is_good = false; });
    return is_good;
}

void append_json_string(std::string& out, std::string_view text)
{
    out += '"';
    const auto one = [&](std::string_view character) {
        if (character == "\n")
            out += "\\n";
        else if (character == "\"" || character == "\\")
            out.append("\\").append(character);
        else if (is_control(character)) // JSON permits DEL and C1, but a terminal obeys them
            append(out, "\\u{:04x}", static_cast<unsigned char>(character.back()));
        else
            out += character;
    };
    for_each_character(text, one, [&](unsigned char byte) { append(out, "\\\\x{:02x}", byte); });
    out += '"';
}

void append_for_terminal(std::string& out, std::string_view text)
{
    const auto bad = [&](unsigned char byte) { append(out, "\\x{:02x}", byte); };
    const auto one = [&](std::string_view character) {
        if (!is_control(character) || character == "\n" || character == "\t")
            out += character;
        else
            for (const char byte : character)
                bad(static_cast<unsigned char>(byte));
    };
    for_each_character(text, one, bad);
}

void append_base64(std::string& out, std::string_view bytes)
{
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 3))) {
        const auto byte = [&](std::size_t at) {
            return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0u;
        };
        const auto group = byte(0) << 16 | byte(1) << 8 | byte(2);
        out += digits[group >> 18];
        out += digits[group >> 12 & 63];
        out += bytes.size() > 1 ? digits[group >> 6 & 63] : '=';
        out += bytes.size() > 2 ? digits[group & 63] : '=';
    }
}

std::string to_utc(Printer::WallTime time)
{
    const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(time - seconds);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(seconds), micros.count());
}

void Printer::set_time(WallTime time)
{
    if (settings_.has_timestamps)
        time_ = to_utc(time);
}

void Printer::message(std::string& out, const sidecar::MessageView& message) const
{
    if (settings_.is_json)
        return json_message(out, message);
    if (!time_.empty())
        out.append(time_).append(" ");
    if (settings_.is_terminal)
        out += "< ";
    if (settings_.listen.is_server())
        append(out, "{}: ", static_cast<std::uint32_t>(message.link()));
    if (const auto topic = message.topic(); !topic.empty()) {
        append_for_terminal(out, topic);
        out += ' ';
    }
    const bool is_text = message.kind() == sidecar::MessageKind::text;
    if (!is_text && settings_.output_binary == BinaryFormat::hex)
        append_hex(out, message.bytes());
    else if (!is_text && settings_.output_binary == BinaryFormat::base64)
        append_base64(out, message.text());
    else if (settings_.is_terminal)
        append_for_terminal(out, message.text());
    else
        out += message.text();
    out += '\n';
}

void Printer::begin_event(std::string& out, std::string_view name, sidecar::LinkId link) const
{
    append(out, "{{\"event\":\"{}\"", name);
    if (!time_.empty())
        append(out, ",\"time\":\"{}\"", time_);
    if (!settings_.listen.address.empty())
        append(out, ",\"link\":{}", static_cast<std::uint32_t>(link));
}

void Printer::json_message(std::string& out, const sidecar::MessageView& message) const
{
    const bool is_text = message.kind() == sidecar::MessageKind::text;
    begin_event(out, "message", message.link());
    if (!message.topic().empty())
        append_field(out, "topic", message.topic());
    append(out, ",\"kind\":\"{}\",\"size\":{}", is_text ? "text" : "binary", message.size());
    // With raw, a binary message is printed as text if it is UTF-8, and as base64 otherwise.
    if ((is_text || settings_.output_binary == BinaryFormat::raw) && is_utf8(message.text())) {
        append_field(out, "text", message.text());
    } else if (!is_text && settings_.output_binary == BinaryFormat::hex) {
        out += ",\"hex\":\"";
        append_hex(out, message.bytes());
        out += '"';
    } else {
        out += ",\"base64\":\"";
        append_base64(out, message.text());
        out += '"';
    }
    out += "}\n";
}

void Printer::up(std::string& out, std::string_view endpoint, const sidecar::Event& event) const
{
    begin_event(out, "up", event.link);
    append_field(out, "endpoint", endpoint);
    append_field(out, "protocol", event.protocol);
    if (event.client) // of a client's request
        append_field(out, "path", event.client->path);
    out += "}\n";
}

void Printer::down(std::string& out, const sidecar::Failure& failure, sidecar::LinkId link) const
{
    begin_event(out, "down", link);
    append(out, ",{}\n", std::string_view{sidecar::to_json(failure)}.substr(1));
}

void Printer::report(std::string& out, int status, const sidecar::StopReport& report,
                     const sidecar::Stats& stats) const
{
    const auto members = sidecar::to_json(report);
    begin_event(out, "report", {});
    append(out, ",\"status\":{},{},{}\n", status,
           std::string_view{members}.substr(1, members.size() - 2),
           std::string_view{sidecar::to_json(stats)}.substr(1));
}

void Output::write_some(std::string& text)
{
    // A ready pipe takes PIPE_BUF bytes without waiting, and so does a terminal.
    const auto size = std::min<std::size_t>(text.size() - written_, PIPE_BUF);
    const auto wrote = is_gone_ ? 0 : ::write(descriptor_, text.data() + written_, size);
    if (wrote > 0) {
        written_ += static_cast<std::size_t>(wrote);
    } else if (wrote < 0 && errno != EINTR && errno != EAGAIN) {
        is_gone_ = true;
        if (errno != EPIPE && errno != ECONNRESET)
            error_ = fmt::format("standard output: {}", std::strerror(errno));
    }
    if (!is_gone_ && written_ < text.size())
        return;
    text.clear();
    written_ = 0;
    if (text.capacity() > std::size_t{1} << 20) // a large message made it grow
        text.shrink_to_fit();
}

void Output::write(std::string& text, const std::function<bool()>& must_end)
{
    constexpr auto patience = std::chrono::seconds{1};
    auto before = written_;
    for (auto last = std::chrono::steady_clock::now(); !text.empty(); before = written_) {
        ::pollfd entry{descriptor_, POLLOUT, 0};
        if (is_gone_ || ::poll(&entry, 1, 100) > 0) // how soon it notices the end
            write_some(text);
        const auto now = std::chrono::steady_clock::now();
        if (written_ != before)
            last = now;
        if (!must_end() || now - last <= patience || text.empty())
            continue;
        is_gone_ = true;
        error_ = fmt::format("{} bytes of output were not taken", text.size() - written_);
    }
}

} // namespace sidecar_cat
