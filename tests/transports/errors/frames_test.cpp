// Frames that break the protocol, and ends of a link.
#include "table.hpp"
#include "trial.hpp"

#include <doctest/doctest.h>

namespace frames_test {

using namespace sidecar;
using namespace std::chrono_literals;

constexpr unsigned fin = 0x80, rsv1 = 0x40, rsv2 = 0x20;
constexpr unsigned text = 1, binary = 2, close_frame = 8, ping = 9;

std::string bytes_of(std::initializer_list<unsigned> values)
{
    std::string bytes;
    for (const auto value : values)
        bytes += static_cast<char>(value);
    return bytes;
}

/// What a link ends with on which the peer sends this, and ends.
Failure ended_by(const std::string& bytes, bool is_compressed = false)
{
    RawPeer peer{[&](RawConnection& c) {
        const auto request = c.read_until("\r\n\r\n");
        c.send(accepting(request,
                         is_compressed ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : ""));
        c.send(bytes);
        c.half_close();
        c.wait_for_end();
    }};
    WebSocket::Options options{.url = "ws://localhost:" + std::to_string(peer.port()) + "/feed",
                               .max_message_bytes = 1000};
    if (is_compressed)
        options.compression = CompressionOptions{};
    Sidecar<WebSocket> feed{options, silent_options()};
    if (auto started = feed.start(20s); !started)
        return started.error();
    return failure_of(feed);
}

Failure deflated(const std::string& bytes) { return ended_by(bytes, true); }

std::string closing(unsigned code, const std::string& reason = {})
{
    return frame(fin | close_frame, bytes_of({code >> 8, code & 0xff}) + reason);
}

TEST_CASE("error table: frames")
{
    ErrorTable table{"Frames"};
    table.add("sets RSV1, and no extension was agreed on", ended_by(frame(fin | rsv1 | text, "x")));
    table.add("uses a reserved opcode", ended_by(frame(fin | 3, "x")));
    table.add("uses a reserved opcode of a control frame", ended_by(frame(fin | 11, "x")));
    table.add("masks a frame", ended_by(bytes_of({fin | text, 0x81, 1, 2, 3, 4, 5})));
    table.add("continues what has not begun", ended_by(frame(fin, "x")));
    table.add("begins a message within another",
              ended_by(frame(text, "x") + frame(fin | text, "y")));
    table.add("sends a control frame in fragments", ended_by(frame(ping, "x")));
    table.add("sends a ping of 126 bytes", ended_by(frame(fin | ping, std::string(126, 'x'))));
    table.add("writes a length in more bytes than needed",
              ended_by(bytes_of({fin | text, 126, 0, 1}) + "x"));
    table.add("writes a length of more than 63 bits",
              ended_by(bytes_of({fin | text, 127, 0x80, 0, 0, 0, 0, 0, 0, 0})));
    table.add("sends a message of one byte above `max_message_bytes`",
              ended_by(frame(fin | binary, std::string(1001, 'x'))));
    table.add("sends fragments of more than `max_message_bytes`",
              ended_by(frame(binary, std::string(600, 'x')) + frame(0, std::string(600, 'x'))));
    table.add("sends text that is not UTF-8", ended_by(frame(fin | text, "ab\xff")));
    table.add("ends text within a character", ended_by(frame(fin | text, "ab\xc3")));
    std::string empty_fragments = frame(binary, "");
    for (int i = 0; i < 1025; ++i)
        empty_fragments += frame(0, "");
    table.add("sends one empty fragment after the other", ended_by(empty_fragments));
    table.compare();
}

TEST_CASE("error table: compressed frames")
{
    ErrorTable table{"Compressed frames"};
    table.add("sets RSV2", deflated(frame(fin | rsv2 | text, "x")));
    table.add("sets RSV1 on a control frame", deflated(frame(fin | rsv1 | ping, "x")));
    table.add("sends what is no DEFLATE data", deflated(frame(fin | rsv1 | binary, "\xff\xff")));
    table.add("refers to what was never sent",
              deflated(frame(fin | rsv1 | binary, bytes_of({0x02, 0x03, 0}))));
    table.add("ends within a block", deflated(frame(fin | rsv1 | binary, bytes_of({0x62}))));
    // A stored block of 1001 bytes
    table.add("sends what inflates to one byte above `max_message_bytes`",
              deflated(frame(fin | rsv1 | binary, bytes_of({0, 0xe9, 0x03, 0x16, 0xfc})
                                                      + std::string(1001, 'x') + bytes_of({0}))));
    table.compare();
}

TEST_CASE("error table: ends")
{
    ErrorTable table{"Ends"};
    table.add("closes", ended_by(closing(1000)));
    table.add("closes without a code", ended_by(frame(fin | close_frame, "")));
    table.add("goes away", ended_by(closing(1001, "restart")));
    table.add("closes with control characters", ended_by(closing(4000, "\x1b[31mred\n")));
    table.add("closes with half a code", ended_by(frame(fin | close_frame, "x")));
    table.add("closes with a code that none may have", ended_by(closing(1005)));
    table.add("closes with a reason that is not UTF-8", ended_by(closing(1000, "\xff")));
    table.add("ends the connection without closing", ended_by(""));
    table.compare();
}

} // namespace frames_test
