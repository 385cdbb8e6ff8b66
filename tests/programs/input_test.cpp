#include "input.hpp"

#include <sidecar/sidecar.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <stdlib.h> // NOLINT(*-deprecated-headers): POSIX declares posix_openpt in this form only
#include <string>
#include <unistd.h>
#include <vector>

using namespace sidecar_cat;
using namespace std::string_literals;

namespace {

using Lines = std::vector<std::string>;

/// All lines that `pieces` hold; what is too long as its size in angle brackets.
Lines lines_of(std::size_t max_bytes, const Lines& pieces)
{
    LineCutter cutter{max_bytes};
    Lines lines;
    const auto take = [&](bool has_ended) {
        while (const auto line = cutter.next(has_ended)) {
            CHECK(line->number == lines.size() + 1);
            lines.push_back(line->size != line->text.size() ? "<" + std::to_string(line->size) + ">"
                                                            : std::string{line->text});
        }
    };
    for (const auto& piece : pieces) {
        cutter.append(piece);
        take(false);
    }
    take(true);
    return lines;
}

} // namespace

TEST_CASE("line cutter: lines however they are cut into pieces")
{
    const std::string text = "one\n\ntwo\n\0three\n"s;
    const Lines expected{"one", "", "two", "\0three"s};
    for (std::size_t size = 1; size <= text.size(); ++size) {
        Lines pieces;
        for (std::size_t at = 0; at < text.size(); at += size)
            pieces.push_back(text.substr(at, size));
        CHECK(lines_of(10, pieces) == expected);
    }
}

TEST_CASE("line cutter: when the input has ended, the rest is a line")
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

TEST_CASE("hex: each byte is two digits; spaces between bytes, and a carriage return, are skipped")
{
    CHECK(decode_hex("000ff0FF") == "\0\x0f\xf0\xff"s);
    CHECK(decode_hex(" 00  ff ") == "\0\xff"s);
    CHECK(decode_hex("00ff\r") == "\0\xff"s);
    CHECK(decode_hex("") == "");
    for (const auto* wrong : {"0", "000", "0g", "0 0", "0x00", "00\n", "+1", "-1"})
        CHECK_MESSAGE(!decode_hex(wrong), wrong);
}

TEST_CASE("input: a read where nothing is left returns at once, and the end is seen later")
{
    // poll() may announce what Ctrl-C or another reader then takes away.
    int reader = -1, writer = -1;
    SUBCASE("of a pipe")
    {
        int ends[2];
        REQUIRE(::pipe(ends) == 0);
        reader = ends[0];
        writer = ends[1];
    }
    SUBCASE("of a terminal")
    {
        writer = ::posix_openpt(O_RDWR | O_NOCTTY);
        REQUIRE(::grantpt(writer) == 0);
        REQUIRE(::unlockpt(writer) == 0);
        reader = ::open(::ptsname(writer), O_RDWR | O_NOCTTY);
    }
    REQUIRE(reader >= 0);
    const Settings settings;
    sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>> feed{{.host = "localhost", .port = 1}};
    Input input{reader, [&](const sidecar::Payload& line) { return feed.send(line); }, settings};
    const auto was_open = ::fcntl(reader, F_GETFL);
    input.resume();
    input.read();
    CHECK(::fcntl(reader, F_GETFL) == was_open); // others who have it still wait
    CHECK_FALSE(input.is_done());
    ::close(writer);
    input.read();
    CHECK(input.is_done());
    ::close(reader);
}
