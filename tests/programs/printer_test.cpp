#include "printer.hpp"
#include "state_line.hpp"

#include <doctest/doctest.h>

#include <span>
#include <string>

using namespace sidecar_cat;
using namespace std::chrono_literals;
using namespace std::string_literals;
using sidecar::MessageKind;
using sidecar::MessageView;

namespace {

MessageView text(std::string_view payload)
{
    return {{}, MessageKind::text, std::as_bytes(std::span{payload})};
}
MessageView bytes(std::string_view payload)
{
    return {{}, MessageKind::bytes, std::as_bytes(std::span{payload})};
}

std::string printed(const Printer& printer, const MessageView& message,
                    Direction direction = Direction::received)
{
    std::string out;
    printer.message(out, direction, message);
    return out;
}

} // namespace

TEST_CASE("printer: into a pipe a message is its payload and a line end")
{
    const Printer printer{{}, {}};
    CHECK(printed(printer, text("a\x1b[2J")) == "a\x1b[2J\n");
    CHECK(printed(printer, text("")) == "\n");
    CHECK(printed(printer, bytes("\0\xff"s)) == "00ff\n");
    CHECK(printed(Printer{{.binary = BinaryFormat::base64}, {}}, bytes("\0\xff"s)) == "AP8=\n");
    CHECK(printed(Printer{{.binary = BinaryFormat::raw}, {}}, bytes("\0\xff"s)) == "\0\xff\n"s);
    CHECK(printed(Printer{{.binary = BinaryFormat::raw, .is_raw = true}, {}}, bytes("x")) == "x");
}

TEST_CASE("printer: on a terminal directions are marked, and nothing commands it")
{
    const Printer plain{{}, {.is_terminal = true}};
    CHECK(printed(plain, text("a\x1b[2J")) == "< a\\x1b[2J\n");
    CHECK(printed(plain, text("a"), Direction::sent) == "> a\n");
    const Printer coloured{{}, {.is_terminal = true, .has_colour = true}};
    CHECK(printed(coloured, text("a")) == "\x1b[32m< \x1b[0ma\n");
    CHECK(printed(coloured, text("a"), Direction::sent) == "\x1b[33m> \x1b[0ma\n");
}

TEST_CASE("printer: times are UTC with microseconds, also before 1970")
{
    CHECK(to_utc(WallTime{}) == "1970-01-01T00:00:00.000000Z");
    CHECK(to_utc(WallTime{1'700'000'000'123'456us}) == "2023-11-14T22:13:20.123456Z");
    CHECK(to_utc(WallTime{-1us}) == "1969-12-31T23:59:59.999999Z");
    Printer printer{{.has_timestamps = true}, {}};
    printer.set_time(WallTime{});
    CHECK(printed(printer, text("x")) == "1970-01-01T00:00:00.000000Z x\n");
}

TEST_CASE("printer: JSON has text as it is, and what is none as hex or base64")
{
    const Printer hex{{.binary = BinaryFormat::hex, .is_json = true}, {.is_terminal = true}};
    CHECK(printed(hex, text("a\"ü"))
          == R"({"event":"message","kind":"text","size":4,"text":"a\"ü"})"
             "\n");
    CHECK(printed(hex, bytes("\xff"))
          == R"({"event":"message","kind":"binary","size":1,"hex":"ff"})"
             "\n");
    CHECK(printed(hex, text("\xff")) // a line of TCP
          == R"({"event":"message","kind":"text","size":1,"base64":"/w=="})"
             "\n");
    CHECK(printed(hex, text("a"), Direction::sent).empty());
    const Printer raw{{.binary = BinaryFormat::raw, .is_json = true}, {}};
    CHECK(printed(raw, bytes("ab"))
          == R"({"event":"message","kind":"binary","size":2,"text":"ab"})"
             "\n");
    CHECK(printed(raw, bytes("\xff"))
          == R"({"event":"message","kind":"binary","size":1,"base64":"/w=="})"
             "\n");
}

TEST_CASE("printer: events are JSON lines, and nothing without --json")
{
    const sidecar::Failure failure{
        sidecar::Error::closed_by_peer,
        {.attempted = "read", .close_code = 4000, .close_reason = "\xff\""}};
    const auto events = [&](bool is_json) {
        Printer printer{{.is_json = is_json, .has_timestamps = true}, {}};
        printer.set_time(WallTime{});
        std::string out;
        printer.up(out, "ws://h", "v1");
        printer.down(out, failure);
        printer.report(out, 3, {}, {});
        return out;
    };
    CHECK(events(false).empty());
    const auto lines = events(true);
    CHECK(
        lines.find(
            R"({"event":"up","time":"1970-01-01T00:00:00.000000Z","endpoint":"ws://h","protocol":"v1"})"
            "\n")
        == 0);
    CHECK(lines.find(R"("close_code":4000,"close_reason":"\\xff\"")") != std::string::npos);
    CHECK(lines.find(R"("status":3,"clean":)") != std::string::npos);
}

TEST_CASE("state line: rates are what passed in the interval, and the text is cut to the terminal")
{
    sidecar::Stats before, now;
    before.messages_received = 100;
    now.messages_received = 1100;
    now.bytes_received = 2'500'000;
    now.messages_sent = 5;
    now.bytes_sent = 50;
    now.inbox_messages = 7;
    const auto rates = rates_between(before, now, 500ms);
    CHECK(rates.received_messages == doctest::Approx(2000));
    CHECK(rates_between(now, before, 500ms).received_messages == 0); // a new run began
    CHECK(rates_between(before, now, 0ms).received_messages == 0);
    CHECK(state_text(sidecar::State::connected, rates, now, 200)
          == "connected   received 2000/s 5.0 MB/s   sent 10/s 100 B/s   queued 7 in, 0 out");
    CHECK(state_text(sidecar::State::connected, rates, now, 12) == "connected   ");
}
