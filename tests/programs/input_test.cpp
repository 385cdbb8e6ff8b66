#include "input.hpp"
#include "line_cutter.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <vector>

using namespace sidecar_cat;
using namespace std::string_literals;

namespace {

/// All lines that `pieces` hold; what is too long as its size in angle brackets.
std::vector<std::string> lines_of(std::size_t limit, const std::vector<std::string>& pieces)
{
    LineCutter cutter{limit};
    std::vector<std::string> lines;
    const auto take = [&] {
        while (const auto line = cutter.next()) {
            CHECK(line->number == lines.size() + 1);
            lines.push_back(line->too_long_bytes != 0
                                ? "<" + std::to_string(line->too_long_bytes) + ">"
                                : std::string{line->text});
        }
    };
    for (const auto& piece : pieces) {
        cutter.append(piece);
        take();
        CHECK(cutter.held_bytes() <= limit);
    }
    cutter.end();
    take();
    return lines;
}

using Lines = std::vector<std::string>;

class Pipe {
public:
    Pipe() { REQUIRE(::pipe2(ends_, O_CLOEXEC) == 0); }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe()
    {
        close();
        ::close(ends_[0]);
    }
    void write(std::string_view text)
    {
        REQUIRE(::write(ends_[1], text.data(), text.size()) == static_cast<long>(text.size()));
    }
    void close()
    {
        if (ends_[1] >= 0)
            ::close(ends_[1]);
        ends_[1] = -1;
    }
    [[nodiscard]] int reading() const { return ends_[0]; }

private:
    int ends_[2] = {-1, -1};
};

} // namespace

TEST_CASE("line cutter: lines however they are cut into pieces")
{
    const std::string text = "one\n\ntwo\n\0three\n"s;
    const Lines expected{"one", "", "two", "\0three"s};
    for (std::size_t size = 1; size <= text.size(); ++size) {
        std::vector<std::string> pieces;
        for (std::size_t at = 0; at < text.size(); at += size)
            pieces.push_back(text.substr(at, size));
        CHECK(lines_of(10, pieces) == expected);
    }
}

TEST_CASE("line cutter: what stands behind the last line end is a line when the input has ended")
{
    CHECK(lines_of(10, {"a\nb"}) == Lines{"a", "b"});
    CHECK(lines_of(10, {"a\n"}) == Lines{"a"});
    CHECK(lines_of(10, {""}) == Lines{});
    CHECK(lines_of(10, {"\n"}) == Lines{""});
}

TEST_CASE(
    "line cutter: a line of exactly the limit passes, one byte more does not, and the next does")
{
    CHECK(lines_of(4, {"1234\n12345\n1\n"}) == Lines{"1234", "<5>", "1"});
    CHECK(lines_of(4, {"12", "345", "6", "\n1\n"}) == Lines{"<6>", "1"});
    CHECK(lines_of(4, {"1\n12345"}) == Lines{"1", "<5>"});
    CHECK(lines_of(4, {"123456", "7890"}) == Lines{"<10>"});
}

TEST_CASE("outgoing: a line is text, or what it decodes to")
{
    std::string storage;
    const InputLine line{.text = "00ff", .number = 7};
    CHECK(to_outgoing(line, std::nullopt, storage).kind == sidecar::MessageKind::text);
    CHECK(to_outgoing(line, std::nullopt, storage).payload == "00ff");
    CHECK(to_outgoing(line, BinaryFormat::raw, storage).kind == sidecar::MessageKind::bytes);
    CHECK(to_outgoing(line, BinaryFormat::raw, storage).payload == "00ff");
    CHECK(to_outgoing(line, BinaryFormat::hex, storage).payload == "\0\xff"s);
    CHECK(to_outgoing(line, BinaryFormat::base64, storage).payload == "\xd3\x47\xdf"s);
    const InputLine from_elsewhere{.text = "00ff\r", .number = 7};
    CHECK(to_outgoing(from_elsewhere, BinaryFormat::hex, storage).payload == "\0\xff"s);
    CHECK(to_outgoing(from_elsewhere, BinaryFormat::base64, storage).payload == "\xd3\x47\xdf"s);
    CHECK(to_outgoing(from_elsewhere, std::nullopt, storage).payload == "00ff\r");
    CHECK(to_outgoing({.text = "?", .number = 7}, BinaryFormat::hex, storage).complaint
          == "line 7 is not sent: it is not hex, as --binary hex wants it");
    CHECK(to_outgoing({.text = "?", .number = 8}, BinaryFormat::base64, storage).complaint
          == "line 8 is not sent: it is not base64, as --binary base64 wants it");
    CHECK(to_outgoing({.text = {}, .number = 9, .too_long_bytes = 77}, std::nullopt, storage)
              .complaint
          == "line 9 is not sent: it has 77 bytes, more than --max-message allows");
}

TEST_CASE("input: reads no more while lines are left, and ends with its descriptor")
{
    Pipe pipe;
    Input input{pipe.reading(), {.limit_bytes = 100}};
    CHECK(input.to_poll() >= 0);
    pipe.write("a\nb");
    CHECK(input.read().empty());
    CHECK(input.to_poll() == -1);
    CHECK(input.next()->payload == "a");
    CHECK_FALSE(input.next());
    CHECK(input.to_poll() >= 0);
    pipe.close();
    CHECK(input.read().empty());
    CHECK_FALSE(input.is_exhausted());
    CHECK(input.next()->payload == "b");
    CHECK_FALSE(input.next());
    CHECK(input.is_exhausted());
    CHECK(input.to_poll() == -1);
}

TEST_CASE("input: the limit counts the bytes of the message, not those of its hex or base64")
{
    struct Row {
        std::optional<BinaryFormat> binary;
        std::string fits, too_long;
        int bytes;
    };
    const Row rows[] = {
        {std::nullopt, "1234", "12345", 5},
        {BinaryFormat::raw, "1234", "12345", 5},
        {BinaryFormat::hex, "01020304", "0102030405", 5},
        {BinaryFormat::hex, "01 02 03 04\r", "01 02 03 04 05", 14},
        {BinaryFormat::base64, "AAAAAA==", "AAAAAAA=", 5},
    };
    for (const auto& row : rows) {
        Pipe pipe;
        Input input{pipe.reading(), {.binary = row.binary, .limit_bytes = 4}};
        pipe.write(row.fits + '\n' + row.too_long + "\n" + row.fits + '\n');
        CHECK(input.read().empty());
        CHECK(input.next()->complaint.empty());
        CHECK(input.next()->complaint
              == "line 2 is not sent: it has " + std::to_string(row.bytes)
                     + " bytes, more than --max-message allows");
        const auto last = input.next();
        CHECK(last->complaint.empty());
        CHECK(last->payload.size() == 4);
        CHECK(last->line == 3);
    }
}

TEST_CASE("input: what was readable and is gone when it is read does not block, and is no end")
{
    Pipe pipe;
    Input input{pipe.reading(), {.limit_bytes = 100}};
    CHECK(input.read().empty()); // somebody else was faster
    CHECK_FALSE(input.next());
    CHECK_FALSE(input.is_exhausted());
    pipe.write("a\n");
    CHECK(input.read().empty());
    CHECK(input.next()->payload == "a");
    CHECK((::fcntl(pipe.reading(), F_GETFL) & O_NONBLOCK) == 0); // others have it too
}

TEST_CASE("input: raw pieces pass as they come")
{
    Pipe pipe;
    Input input{pipe.reading(), {.is_raw = true, .limit_bytes = 100}};
    pipe.write("a\n\0b"s);
    CHECK(input.read().empty());
    CHECK(input.next()->payload == "a\n\0b"s);
    CHECK_FALSE(input.next());
    pipe.close();
    CHECK(input.read().empty());
    CHECK_FALSE(input.next());
    CHECK(input.is_exhausted());
}

TEST_CASE("input: what cannot be read has ended, and says why")
{
    const int folder = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    Input input{folder, {.limit_bytes = 100}};
    CHECK(input.read() == "standard input cannot be read: Is a directory");
    CHECK_FALSE(input.next());
    CHECK(input.is_exhausted());
    ::close(folder);
}
