#include "printer.hpp"

#include "encoding.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <iterator>

namespace sidecar_cat {
namespace {

constexpr std::string_view green = "\x1b[32m", yellow = "\x1b[33m", reset = "\x1b[0m";

double milliseconds(sidecar::Duration duration)
{
    return std::chrono::duration<double, std::milli>(duration).count();
}

void append_field(std::string& out, std::string_view name, std::string_view value)
{
    fmt::format_to(std::back_inserter(out), ",\"{}\":", name);
    // What comes from a peer may be no UTF-8, and JSON has nothing else.
    if (is_utf8(value)) {
        append_json_string(out, value);
    } else {
        std::string shown;
        append_for_terminal(shown, value);
        append_json_string(out, shown);
    }
}

void append_field(std::string& out, std::string_view name, std::uint64_t value)
{
    fmt::format_to(std::back_inserter(out), ",\"{}\":{}", name, value);
}

void append_stage(std::string& out, std::string_view name, const sidecar::StageReport& stage)
{
    fmt::format_to(std::back_inserter(out), ",\"{}\":{{\"verdict\":\"{}\",\"ms\":{:.3f}}}", name,
                   sidecar::to_string(stage.verdict), milliseconds(stage.took));
}

} // namespace

std::string to_utc(WallTime time)
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

void Printer::message(std::string& out, Direction direction,
                      const sidecar::MessageView& message) const
{
    if (!settings_.is_json)
        plain_message(out, direction, message);
    else if (direction == Direction::received)
        json_message(out, message);
}

void Printer::plain_message(std::string& out, Direction direction,
                            const sidecar::MessageView& message) const
{
    if (!time_.empty())
        fmt::format_to(std::back_inserter(out), "{} ", time_);
    const bool is_received = direction == Direction::received;
    if (style_.is_terminal && !settings_.is_raw) {
        out += style_.has_colour ? (is_received ? green : yellow) : std::string_view{};
        out += is_received ? "< " : "> ";
        out += style_.has_colour ? reset : std::string_view{};
    }
    const bool is_text = message.kind() == sidecar::MessageKind::text;
    if (!is_text && settings_.binary == BinaryFormat::hex)
        append_hex(out, message.text());
    else if (!is_text && settings_.binary == BinaryFormat::base64)
        append_base64(out, message.text());
    else if (style_.is_terminal)
        append_for_terminal(out, message.text());
    else
        out += message.text();
    if (!settings_.is_raw)
        out += '\n';
}

void Printer::begin_event(std::string& out, std::string_view name) const
{
    fmt::format_to(std::back_inserter(out), "{{\"event\":\"{}\"", name);
    if (!time_.empty())
        fmt::format_to(std::back_inserter(out), ",\"time\":\"{}\"", time_);
}

void Printer::json_message(std::string& out, const sidecar::MessageView& message) const
{
    const bool is_text = message.kind() == sidecar::MessageKind::text;
    begin_event(out, "message");
    out += is_text ? R"(,"kind":"text")" : R"(,"kind":"binary")";
    append_field(out, "size", message.size());
    // A message of bytes printed raw is text where it can be; what is not goes as base64.
    const bool is_shown_as_text = is_text || settings_.binary == BinaryFormat::raw;
    if (is_shown_as_text && is_utf8(message.text())) {
        out += ",\"text\":";
        append_json_string(out, message.text());
    } else if (!is_text && settings_.binary == BinaryFormat::hex) {
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
    if (!settings_.is_json)
        return;
    begin_event(out, "up");
    append_field(out, "endpoint", endpoint);
    append_field(out, "protocol", protocol);
    out += "}\n";
}

void Printer::down(std::string& out, const sidecar::Failure& failure) const
{
    if (!settings_.is_json)
        return;
    begin_event(out, "down");
    append_field(out, "code", static_cast<std::uint64_t>(failure.code().value()));
    append_field(out, "reason", failure.message());
    if (failure.close_code() != 0)
        append_field(out, "close_code", failure.close_code());
    if (!failure.close_reason().empty())
        append_field(out, "close_reason", failure.close_reason());
    if (failure.http_status() != 0)
        append_field(out, "http_status", failure.http_status());
    out += "}\n";
}

void Printer::report(std::string& out, int status, const sidecar::StopReport& report,
                     const sidecar::Stats& stats) const
{
    if (!settings_.is_json)
        return;
    begin_event(out, "report");
    append_field(out, "status", static_cast<std::uint64_t>(status));
    out += report.clean() ? ",\"clean\":true" : ",\"clean\":false";
    fmt::format_to(std::back_inserter(out), ",\"total_ms\":{:.3f}", milliseconds(report.total));
    append_stage(out, "quiesce", report.quiesce);
    append_stage(out, "drain", report.drain);
    append_stage(out, "close", report.close);
    append_stage(out, "cancel", report.cancel);
    append_stage(out, "join", report.join);
    append_field(out, "unread_messages", report.unread_messages);
    append_field(out, "discarded_messages", report.discarded_messages);
    append_field(out, "unsent_messages", report.unsent_messages);
    append_field(out, "messages_received", stats.messages_received);
    append_field(out, "bytes_received", stats.bytes_received);
    append_field(out, "messages_sent", stats.messages_sent);
    append_field(out, "bytes_sent", stats.bytes_sent);
    if (report.first_error)
        append_field(out, "first_error", report.first_error->message());
    out += "}\n";
}

} // namespace sidecar_cat
