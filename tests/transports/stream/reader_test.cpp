// From a stream through a decoder into a sink, each of the test's own.
#include "fakes.hpp"
#include "reader.hpp"
#include "support/sanitized.hpp"

#include <sidecar/transports/framing.hpp>

namespace reader_test {

using namespace fakes;
using stream::Reader;

/// One length byte, or 255 and four; "!" is a mistake, "." the end; a length of 0 is a filler without
/// a message.
class Lengths final : public stream::Decoder {
public:
    stream::DecodeResult decode(std::span<const std::byte> unread, Sink& sink) override
    {
        auto pass = stream::decode_messages(unread, sink, MessageKind::binary,
                                            [this](auto bytes) { return decode(bytes); });
        pass.is_over = is_over;
        return pass;
    }
    void received(std::span<const std::byte> bytes, bool is_last) override
    {
        seen_in_place += text_of(bytes);
        is_last_seen = is_last;
    }
    std::size_t decoded = 0;
    std::string seen_in_place;
    bool is_last_seen = false;
    bool is_over = false;

private:
    Decoded decode(std::span<const std::byte> bytes)
    {
        if (bytes.empty())
            return {};
        const auto first = std::to_integer<std::size_t>(bytes[0]);
        if (first == '!')
            throw Exception{Failure{Error::protocol_violation}};
        is_over = is_over || first == '.';
        if (is_over)
            return {};
        if (first == 0)
            return {.payload = {}, .consumed_bytes = 1};
        std::size_t head = 1, size = first;
        if (first == 255) {
            if (bytes.size() < 5)
                return {.payload = {}, .missing_bytes = 5 - bytes.size()};
            head = 5;
            size = 0;
            for (int i = 1; i < 5; ++i)
                size = size << 8 | std::to_integer<std::size_t>(bytes[static_cast<std::size_t>(i)]);
        }
        const auto body = bytes.subspan(head);
        if (body.size() < size)
            return {.payload = body, .missing_bytes = size - body.size()};
        ++decoded;
        return {.is_complete = true, .payload = body.first(size), .consumed_bytes = head + size};
    }
};

std::string encoded(std::string_view message)
{
    std::string text;
    const auto size = message.size();
    if (size < 255) {
        text += static_cast<char>(size);
    } else {
        text += '\xff';
        for (int shift = 24; shift >= 0; shift -= 8)
            text += static_cast<char>(size >> shift & 0xff);
    }
    return text.append(message);
}

struct Rig {
    boost::asio::io_context io;
    FakeStream stream{io};
    FakeSink sink;
    Lengths decoder;
    Reader reader;
    [[nodiscard]] Run read()
    {
        Run run{io, reader.read(stream, sink, decoder)};
        run_until_idle(io);
        return run;
    }
    /// Reads until that fails, or has to wait.
    error_code read_all()
    {
        for (;;) {
            auto run = read();
            if (!run.is_over()) {
                stream.end_with(boost::asio::error::eof);
                run_until_idle(io);
            }
            REQUIRE(run.is_over());
            if (run.error())
                return run.error();
        }
    }
};

const std::vector<std::string> some_messages{
    "a", std::string(100, 'b'),     std::string(70'000, 'c'),
    "d", std::string(300'000, 'e'), std::string(30'000, 'f'),
    "g"};

TEST_CASE("reader: gives the messages whole and in order, however the bytes come and wherever they "
          "are received")
{
    std::string all;
    for (const auto& message : some_messages)
        all += encoded(message);
    // Under a sanitizer a read of each byte takes minutes.
    for (const std::size_t piece : {is_sanitized ? 61u : 1u, 1000u, 4096u, 65'536u, 1'000'000u})
        for (const bool has_buffer : {false, true})
            for (const bool has_blocks : {false, true}) {
                CAPTURE(piece);
                CAPTURE(has_buffer);
                CAPTURE(has_blocks);
                Rig rig;
                rig.stream.max_per_read = piece;
                rig.sink.buffer_bytes = has_buffer ? 256u << 10 : 0;
                rig.sink.has_blocks = has_blocks;
                rig.stream.come(all);
                CHECK(rig.read_all() == boost::asio::error::eof);
                CHECK(rig.sink.messages == some_messages);
                CHECK(rig.reader.unfinished().empty());
                CHECK(rig.decoder.decoded + rig.sink.in_place == some_messages.size());
            }
}

TEST_CASE("reader: a message that the sink refuses is put first by the next read, and was decoded "
          "once")
{
    for (const bool has_buffer : {false, true}) {
        Rig rig;
        rig.sink.buffer_bytes = has_buffer ? 256u << 10 : 0;
        rig.stream.come(encoded("one") + encoded("two") + encoded("three"));
        rig.sink.room = 1;
        CHECK(rig.read().is_good());
        CHECK(rig.sink.messages == std::vector<std::string>{"one"});
        CHECK(rig.decoder.decoded == 2);
        CHECK(rig.reader.has_put());
        CHECK(rig.read().is_good()); // still no room
        CHECK_FALSE(rig.reader.has_put());
        CHECK(rig.decoder.decoded == 2);
        rig.sink.room = 10;
        CHECK(rig.read().is_good());
        CHECK(rig.sink.messages == std::vector<std::string>{"one", "two", "three"});
        CHECK(rig.decoder.decoded == 3);
        CHECK(rig.reader.has_put());
    }
}

TEST_CASE("reader: what a handshake had read comes first")
{
    Rig rig;
    const auto first = encoded("first"), second = encoded("second");
    rig.reader.push(bytes_of(first.substr(0, 3)));
    rig.stream.come(first.substr(3) + second);
    CHECK(rig.read_all() == boost::asio::error::eof);
    CHECK(rig.sink.messages == std::vector<std::string>{"first", "second"});
}

TEST_CASE("reader: bytes of a message in place are shown once each, and those behind it are read")
{
    Rig rig;
    rig.sink.has_blocks = true;
    const std::string large(100'000, 'L');
    const auto bytes = encoded(large) + encoded("behind");
    rig.stream.come(bytes.substr(0, 1000));
    auto run = rig.read();
    CHECK_FALSE(run.is_over());
    CHECK(rig.reader.unfinished().size() == 995);
    rig.stream.come(bytes.substr(1000));
    run_until_idle(rig.io);
    CHECK(run.is_good());
    CHECK(rig.sink.messages == std::vector<std::string>{large, "behind"});
    CHECK(rig.decoder.seen_in_place == large.substr(995));
    CHECK(rig.decoder.is_last_seen);
}

TEST_CASE("reader: the end of the stream tells what had come of a message")
{
    Rig rig;
    rig.stream.come(encoded("whole") + encoded("unfinished").substr(0, 4));
    CHECK(rig.read_all() == boost::asio::error::eof);
    CHECK(text_of(rig.reader.unfinished()) == "\x0aunf");
}

TEST_CASE("reader: messages before a mistake are put, then the mistake is thrown")
{
    Rig rig;
    rig.stream.come(encoded("good") + "!");
    CHECK(rig.read_all() == make_error_code(Error::protocol_violation));
    CHECK(rig.sink.messages == std::vector<std::string>{"good"});
}

TEST_CASE("reader: a read ends where the decoder says that no message follows")
{
    for (const bool has_blocks : {false, true}) // of a large message in place, too
        for (const auto& before : {std::string{}, std::string{"a"}, std::string(300'000, 'e')}) {
            Rig rig;
            rig.sink.has_blocks = has_blocks;
            rig.stream.come((before.empty() ? "" : encoded(before)) + ".not a message");
            auto run = rig.read();
            CHECK(run.is_good());
            CHECK(rig.reader.has_put() == !before.empty());
            for (int i = 0; i < 9 && !rig.decoder.is_over; ++i)
                CHECK(rig.read().is_good());
            CHECK(rig.decoder.is_over);
            CHECK(rig.sink.messages
                  == (before.empty() ? std::vector<std::string>{} : std::vector{before}));
            CHECK(rig.reader.unfinished().size() == 14);
        }
}

TEST_CASE("reader: fillers without end do not hold the thread")
{
    Rig rig;
    rig.sink.buffer_bytes = 256u << 10;
    rig.stream.come(std::string(10u << 20, '\0'));
    const auto run = rig.read();
    CHECK(run.is_good());
    CHECK(rig.stream.left().size() > 8u << 20);
    CHECK(rig.sink.messages.empty());
}

TEST_CASE("reader: what is announced and has not come takes no memory")
{
    Rig rig;
    rig.stream.come(std::string("\xff\x7f\xff\xff\xff", 5) + "x"); // 2 GiB
    CHECK_FALSE(rig.read().is_over());
    CHECK(rig.reader.held_bytes() <= Reader::kept_bytes + 4096);
}

TEST_CASE("reader: a link that waits has given back the memory of a large message")
{
    Rig rig;
    rig.stream.come(encoded(std::string(3u << 20, 'x')));
    while (rig.sink.messages.empty()) // each read takes in a bounded amount
        REQUIRE(rig.read().is_good());
    CHECK(rig.reader.held_bytes() > 1u << 20);
    CHECK_FALSE(rig.read().is_over());
    CHECK(rig.reader.held_bytes() <= Reader::kept_bytes);
}

TEST_CASE("reader: an abort lets what had come be put, then ends the reading")
{
    Rig rig;
    rig.stream.come(encoded("one") + encoded("two"));
    rig.sink.room = 1;
    CHECK(rig.read().is_good());
    rig.stream.abort();
    rig.sink.room = 10;
    CHECK(rig.read().is_good());
    CHECK(rig.sink.messages == std::vector<std::string>{"one", "two"});
    CHECK(rig.read().error() == boost::asio::error::operation_aborted);
}

TEST_CASE("reader: an abort ends a read that waits")
{
    Rig rig;
    const auto run = rig.read();
    CHECK_FALSE(run.is_over());
    rig.stream.abort();
    run_until_idle(rig.io);
    CHECK(run.error() == boost::asio::error::operation_aborted);
}

TEST_CASE("reader: asks the stream no more often than it must")
{
    Rig rig;
    rig.sink.buffer_bytes = 256u << 10;
    for (int i = 0; i < 100; ++i) {
        auto run = rig.read();
        CHECK_FALSE(run.is_over());
        rig.stream.come(encoded("m"));
        run_until_idle(rig.io);
        CHECK(run.is_good());
    }
    CHECK(rig.stream.reads == 100); // the stream itself says that it is drained
}

} // namespace reader_test
