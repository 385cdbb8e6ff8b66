#include "output.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <iterator>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {
namespace {

/// Bytes of the UTF-8 character at the front; 0: there is none.
std::size_t character_bytes(std::string_view text) noexcept
{
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    if (text.empty() || byte(0) < 0x80)
        return text.empty() ? 0 : 1;
    const std::size_t size = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
    if (byte(0) < 0xc2 || byte(0) > 0xf4 || text.size() < size)
        return 0;
    // The second byte's range excludes overlong forms, surrogates and what is too high.
    const int min = byte(0) == 0xe0 ? 0xa0 : byte(0) == 0xf0 ? 0x90 : 0x80;
    const int max = byte(0) == 0xed ? 0x9f : byte(0) == 0xf4 ? 0x8f : 0xbf;
    if (byte(1) < min || byte(1) > max)
        return 0;
    for (std::size_t at = 2; at < size; ++at)
        if ((byte(at) & 0xc0) != 0x80)
            return 0;
    return size;
}

/// C0, DEL, and C1 in its UTF-8 form.
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

void append_hex(std::string& out, std::string_view bytes)
{
    constexpr std::string_view digits = "0123456789abcdef";
    auto at = out.size();
    out.resize(at + 2 * bytes.size());
    for (const char byte : bytes) {
        out[at++] = digits[static_cast<unsigned char>(byte) >> 4];
        out[at++] = digits[byte & 15];
    }
}

/// Calls `append_one(character)` for each character, `append_bad(byte)` for each byte that is none.
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

double milliseconds(sidecar::Duration duration)
{
    return std::chrono::duration<double, std::milli>(duration).count();
}

} // namespace

void tell(std::string_view text) noexcept
{
    while (!text.empty()) {
        const auto wrote = ::write(STDERR_FILENO, text.data(), text.size());
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return;
        text.remove_prefix(static_cast<std::size_t>(wrote));
    }
}

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
    const std::time_t whole = std::chrono::system_clock::to_time_t(seconds);
    std::tm utc{};
    ::gmtime_r(&whole, &utc);
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", utc, micros.count());
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
    const bool is_text = message.kind() == sidecar::MessageKind::text;
    if (!is_text && settings_.output_binary == BinaryFormat::hex)
        append_hex(out, message.text());
    else if (!is_text && settings_.output_binary == BinaryFormat::base64)
        append_base64(out, message.text());
    else if (settings_.is_terminal)
        append_for_terminal(out, message.text());
    else
        out += message.text();
    out += '\n';
}

void Printer::begin_event(std::string& out, std::string_view name) const
{
    append(out, "{{\"event\":\"{}\"", name);
    if (!time_.empty())
        append(out, ",\"time\":\"{}\"", time_);
}

void Printer::json_message(std::string& out, const sidecar::MessageView& message) const
{
    const bool is_text = message.kind() == sidecar::MessageKind::text;
    begin_event(out, "message");
    append(out, ",\"kind\":\"{}\",\"size\":{}", is_text ? "text" : "binary", message.size());
    // A binary message that is printed raw is text if it can be; what cannot is base64.
    if ((is_text || settings_.output_binary == BinaryFormat::raw) && is_utf8(message.text())) {
        append_field(out, "text", message.text());
    } else if (!is_text && settings_.output_binary == BinaryFormat::hex) {
        out += ",\"hex\":\"";
        append_hex(out, message.text());
        out += '"';
    } else {
        out += ",\"base64\":\"";
        append_base64(out, message.text());
        out += '"';
    }
    out += "}\n";
}

void Printer::up(std::string& out, std::string_view endpoint, std::string_view protocol) const
{
    begin_event(out, "up");
    append_field(out, "endpoint", endpoint);
    append_field(out, "protocol", protocol);
    out += "}\n";
}

void Printer::down(std::string& out, const sidecar::Failure& failure) const
{
    begin_event(out, "down");
    append(out, ",\"code\":{}", failure.code().value());
    append_field(out, "reason", failure.message());
    if (failure.close_code() != 0)
        append(out, ",\"close_code\":{}", failure.close_code());
    if (!failure.close_reason().empty())
        append_field(out, "close_reason", failure.close_reason());
    if (failure.http_status() != 0)
        append(out, ",\"http_status\":{}", failure.http_status());
    out += "}\n";
}

void Printer::report(std::string& out, int status, const sidecar::StopReport& report,
                     const sidecar::Stats& stats) const
{
    begin_event(out, "report");
    append(out, ",\"status\":{},\"clean\":{},\"total_ms\":{:.3f}", status, report.clean(),
           milliseconds(report.total));
    const auto stage = [&](std::string_view name, const sidecar::StageReport& of) {
        append(out, ",\"{}\":{{\"verdict\":\"{}\",\"ms\":{:.3f}}}", name,
               sidecar::to_string(of.verdict), milliseconds(of.took));
    };
    stage("quiesce", report.quiesce);
    stage("drain", report.drain);
    stage("close", report.close);
    stage("cancel", report.cancel);
    stage("join", report.join);
    append(out, ",\"unread_messages\":{},\"discarded_messages\":{},\"unsent_messages\":{}",
           report.unread_messages, report.discarded_messages, report.unsent_messages);
    append(out, ",\"messages_received\":{},\"bytes_received\":{}", stats.messages_received,
           stats.bytes_received);
    append(out, ",\"messages_sent\":{},\"bytes_sent\":{}", stats.messages_sent, stats.bytes_sent);
    if (report.first_error)
        append_field(out, "first_error", report.first_error->message());
    out += "}\n";
}

/// A pipe that is ready takes PIPE_BUF bytes without waiting, and a terminal does.
std::size_t Output::write_some(std::string_view text)
{
    ::pollfd entry{descriptor_, POLLOUT, 0};
    if (::poll(&entry, 1, 100) <= 0) // so soon is the end noticed
        return 0;
    const auto wrote =
        ::write(descriptor_, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (wrote < 0 && errno != EINTR && errno != EAGAIN)
        give_up(errno, 0);
    return wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
}

void Output::give_up(int error, std::size_t lost_bytes)
{
    is_gone_ = true;
    if (lost_bytes != 0)
        error_ = fmt::format("{} bytes of output were not taken", lost_bytes);
    else if (error != EPIPE && error != ECONNRESET)
        error_ = fmt::format("standard output: {}", std::strerror(error));
}

void Output::clear(std::string& text)
{
    constexpr std::size_t usual_bytes = std::size_t{1} << 20;
    text.clear();
    if (text.capacity() > usual_bytes) // a large message made it grow
        text.shrink_to_fit();
}

} // namespace sidecar_cat
