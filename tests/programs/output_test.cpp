#include "output.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <fcntl.h>
#include <span>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

using namespace sidecar_cat;
using namespace std::chrono_literals;
using namespace std::string_literals;
using sidecar::MessageKind;
using sidecar::MessageView;

namespace {

template <void (*append)(std::string&, std::string_view)>
std::string text_of(std::string_view bytes)
{
    std::string out = "|"; // what was there stays
    append(out, bytes);
    return out.substr(1);
}

MessageView text(std::string_view payload)
{
    return {{}, MessageKind::text, std::as_bytes(std::span{payload})};
}
MessageView bytes(std::string_view payload)
{
    return {{}, MessageKind::binary, std::as_bytes(std::span{payload})};
}

std::string printed(const Settings& settings, const MessageView& message)
{
    std::string out;
    Printer printer{settings};
    printer.set_time({});
    printer.message(out, message);
    return out;
}

/// Both ends of a pipe or of a pair of sockets.
struct Ends {
    explicit Ends(bool is_socket)
    {
        REQUIRE((is_socket ? ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)
                           : ::pipe2(ends, O_CLOEXEC))
                == 0);
    }
    Ends(const Ends&) = delete;
    Ends& operator=(const Ends&) = delete;
    ~Ends()
    {
        close_reading();
        ::close(ends[1]);
    }
    void close_reading()
    {
        if (ends[0] >= 0)
            ::close(ends[0]);
        ends[0] = -1;
    }

    int ends[2] = {-1, -1};
};

const auto never = [] { return false; };

} // namespace

TEST_CASE("base64: the test vectors of RFC 4648 section 10")
{
    const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, encoded] : vectors)
        CHECK(text_of<append_base64>(plain) == encoded);
    CHECK(text_of<append_base64>("\0\x01\xfe\xff"s) == "AAH+/w==");
}

TEST_CASE("utf8: overlong forms, surrogates, what is too high and what is cut are none")
{
    for (const auto& good :
         {""s, "ascii\0"s, "\xc2\x80"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s,
          "\xee\x80\x80"s, "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s})
        CHECK(is_utf8(good));
    for (const auto& bad : {"\x80"s, "\xc0\x80"s, "\xc1\xbf"s, "\xc2"s, "\xc2x"s, "\xe0\x9f\xbf"s,
                            "\xed\xa0\x80"s, "\xe2\x82"s, "\xf0\x8f\xbf\xbf"s, "\xf4\x90\x80\x80"s,
                            "\xf5\x80\x80\x80"s, "\xf0\x90\x80"s, "\xff"s})
        CHECK_FALSE(is_utf8("good" + bad));
}

TEST_CASE("json: quotes, backslashes and control characters are escaped, letters are not")
{
    CHECK(text_of<append_json_string>("") == R"("")");
    CHECK(text_of<append_json_string>("a\"b\\c\n\r\t\0\x1f\x7f ü"s)
          == R"("a\"b\\c\n\u000d\u0009\u0000\u001f\u007f ü")");
    CHECK(text_of<append_json_string>("\xc2\x9b"
                                      "2J\xc2\x80\xc2\xa0")
          == "\"\\u009b2J\\u0080\xc2\xa0\""); // C1 commands a terminal
    CHECK(text_of<append_json_string>("\xff\"") == R"("\\xff\"")");
}

TEST_CASE("terminal: what could command it is escaped, newline and tab pass")
{
    CHECK(text_of<append_for_terminal>("ü\tx\n") == "ü\tx\n");
    CHECK(text_of<append_for_terminal>("\x1b[2J\r\b\0\x7f"s) == R"(\x1b[2J\x0d\x08\x00\x7f)");
    CHECK(text_of<append_for_terminal>("\xc2\x9b" // C1, in its UTF-8 form
                                       "2J")
          == R"(\xc2\x9b2J)");
    CHECK(text_of<append_for_terminal>("\xc2\xa0 \xff\xe2\x82") == "\xc2\xa0 \\xff\\xe2\\x82");
}

TEST_CASE("printer: into a pipe a message is its payload and a line end")
{
    const Settings printer{};
    CHECK(printed(printer, text("a\x1b[2J")) == "a\x1b[2J\n");
    CHECK(printed(printer, text("")) == "\n");
    CHECK(printed(printer, bytes("\0\x0f\xf0\xff"s)) == "000ff0ff\n");
    CHECK(printed(Settings{.output_binary = BinaryFormat::base64}, bytes("\0\xff"s)) == "AP8=\n");
    CHECK(printed(Settings{.output_binary = BinaryFormat::raw}, bytes("\0\xff"s)) == "\0\xff\n"s);
    CHECK(printed(Settings{.is_terminal = true}, text("a\x1b[2J")) == "< a\\x1b[2J\n");
}

TEST_CASE("printer: times are UTC with microseconds, also before 1970")
{
    using WallTime = Printer::WallTime;
    CHECK(to_utc(WallTime{}) == "1970-01-01T00:00:00.000000Z");
    CHECK(to_utc(WallTime{1'700'000'000'123'456us}) == "2023-11-14T22:13:20.123456Z");
    CHECK(to_utc(WallTime{-1us}) == "1969-12-31T23:59:59.999999Z");
    CHECK(printed({.has_timestamps = true}, text("x")) == "1970-01-01T00:00:00.000000Z x\n");
}

TEST_CASE("printer: JSON has text as it is, and what is none as hex or base64")
{
    const Settings hex{.is_terminal = true, .is_json = true};
    CHECK(printed(hex, text("a\"ü"))
          == R"({"event":"message","kind":"text","size":4,"text":"a\"ü"})"
             "\n");
    CHECK(printed(hex, bytes("\xff"))
          == R"({"event":"message","kind":"binary","size":1,"hex":"ff"})"
             "\n");
    CHECK(printed(hex, text("\xff")) // a line of TCP
          == R"({"event":"message","kind":"text","size":1,"base64":"/w=="})"
             "\n");
    const Settings raw{.output_binary = BinaryFormat::raw, .is_json = true};
    CHECK(printed(raw, bytes("ab"))
          == R"({"event":"message","kind":"binary","size":2,"text":"ab"})"
             "\n");
    CHECK(printed(raw, bytes("\xff"))
          == R"({"event":"message","kind":"binary","size":1,"base64":"/w=="})"
             "\n");
}

TEST_CASE("printer: events are JSON lines")
{
    const sidecar::Failure failure{
        sidecar::Error::closed_by_peer,
        {.attempted = "read", .close_code = 4000, .close_reason = "\xff\""}};
    const Settings settings{.has_timestamps = true};
    Printer printer{settings};
    printer.set_time({});
    std::string lines;
    printer.up(lines, "ws://h", {.protocol = "v1"});
    printer.down(lines, failure);
    printer.report(lines, 3, {}, {});
    CHECK(
        lines.find(
            R"({"event":"up","time":"1970-01-01T00:00:00.000000Z","endpoint":"ws://h","protocol":"v1"})"
            "\n")
        == 0);
    CHECK(lines.find("\"close_code\":4000,\"close_reason\":\"\xef\xbf\xbd\\\"\"")
          != std::string::npos);
    CHECK(lines.find(R"("status":3,"clean":)") != std::string::npos);
}

TEST_CASE("output: a slow reader gets everything")
{
    for (const bool is_socket : {false, true}) {
        Ends ends{is_socket};
        std::string sent, got;
        for (int i = 0; i < 200'000; ++i)
            sent += std::to_string(i) + '\n';
        std::thread reader{[&] {
            char piece[1000];
            while (got.size() != sent.size())
                got.append(piece, static_cast<std::size_t>(::read(ends.ends[0], piece, 1000)));
        }};
        Output output{ends.ends[1]};
        auto text = sent;
        output.write(text, never);
        CHECK(text.empty());
        reader.join();
        CHECK(got == sent);
    }
}

TEST_CASE("output: at the end, a reader that takes nothing is waited for a second")
{
    Ends ends{false};
    Output output{ends.ends[1]};
    std::string text(1'000'000, 'x');
    output.write(text, [] { return true; });
    CHECK(output.is_gone());
    CHECK(output.error() == "934464 bytes of output were not taken");
}

TEST_CASE("output: a reader that has gone is no error, what the system refuses is one")
{
    std::signal(SIGPIPE, SIG_IGN);
    for (const bool is_socket : {false, true}) {
        Ends ends{is_socket};
        ends.close_reading();
        Output output{ends.ends[1]};
        std::string text = "x";
        output.write(text, never);
        CHECK(output.is_gone());
        CHECK(output.error().empty());
    }
    const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    Output output{full};
    std::string text = "x";
    output.write(text, never);
    CHECK(output.error() == "standard output: No space left on device");
    ::close(full);
}
