// What we compress.
#include "octets.hpp"
#include "zlib_peer.hpp"

namespace deflate_test {

using namespace sidecar;
using namespace sidecar::websocket;

std::span<const std::byte> bytes_of(const std::string& text)
{
    return std::as_bytes(std::span{text});
}

/// Both ends of what we send.
class Sending {
public:
    explicit Sending(const Deflation& deflation, int peer_window_bits = 15)
        : deflation_{deflation}, inflater_{peer_window_bits}
    {
        protocol_.agree_on(deflation);
    }
    /// Sends it, and checks that it comes to the same there; gives its frames.
    std::vector<ClientFrame> send(const std::string& text)
    {
        std::vector<std::byte> out;
        CHECK(protocol_.append_message(out, MessageKind::text, bytes_of(text)));
        return check(out, text);
    }
    std::vector<ClientFrame> send_in_pieces(const std::string& text, std::size_t piece_bytes)
    {
        std::vector<std::byte> out;
        auto pieces = protocol_.begin_message(MessageKind::binary, text.size());
        while (pieces.offset() < text.size()) {
            const auto rest = bytes_of(text).subspan(pieces.offset());
            pieces.append(out, rest.first(std::min(rest.size(), piece_bytes)));
        }
        return check(out, text);
    }
    Protocol& protocol() { return protocol_; }

private:
    std::vector<ClientFrame> check(const std::vector<std::byte>& out, const std::string& text)
    {
        const auto frames = frames_of(out);
        std::string payload;
        for (const auto& frame : frames)
            payload += frame.payload;
        const bool is_compressed = (frames.at(0).first & 0x40) != 0;
        CHECK((is_compressed ? inflater_.message(payload) : payload) == text);
        if (!deflation_.keeps_context)
            inflater_.forget();
        return frames;
    }
    Deflation deflation_;
    Protocol protocol_{0};
    ZlibInflater inflater_;
};

TEST_CASE("deflate: messages arrive as they were, and get smaller the more they repeat")
{
    for (const bool keeps_context : {true, false}) {
        Sending link{{.keeps_context = keeps_context, .threshold_bytes = 0}};
        std::size_t first = 0, last = 0;
        for (unsigned i = 0; i < 200; ++i) {
            const auto frames = link.send(feed_message(i, 300));
            REQUIRE(frames.size() == 1);
            CHECK(frames[0].first == 0xc1);
            (i == 0 ? first : last) = frames[0].payload.size();
        }
        CHECK(first < 300);
        CHECK((last < first * 4 / 5) == keeps_context);
    }
}

TEST_CASE(
    "deflate: every length arrives, also where messages that cannot be compressed come between")
{
    for (const bool keeps_context : {true, false}) {
        Sending link{{.keeps_context = keeps_context, .threshold_bytes = 0}};
        for (unsigned size = 0; size < 2000; ++size) {
            const auto text = size % 5 == 3 ? noise(size, size) : feed_message(size, size);
            const auto frames = link.send(text);
            REQUIRE(frames.size() == 1);
            CHECK(frames[0].payload.size() <= text.size());
        }
    }
}

TEST_CASE("deflate: shorter messages than the threshold, and empty ones, go plain")
{
    Sending link{{.threshold_bytes = 100}};
    CHECK(link.send(std::string(99, 'a'))[0].first == 0x81);
    CHECK(link.send(std::string(100, 'a'))[0].first == 0xc1);
    CHECK(link.send("")[0].first == 0x81);
    Sending all{{.threshold_bytes = 0}};
    CHECK(all.send("")[0].first == 0x81);
    CHECK(all.send("aaaaaaaaaaaaaaaaaaaaaaaa")[0].first == 0xc1);
    CHECK(all.send("a")[0].first == 0x81); // it would get no smaller
    Sending none{{.level = 0, .threshold_bytes = 0}};
    CHECK(none.send(std::string(1000, 'a'))[0].first == 0x81);
}

TEST_CASE("deflate: no reference goes beyond the window that was agreed on, 256 bytes included")
{
    for (int window_bits = 8; window_bits <= 15; ++window_bits)
        for (const int level : {1, 2, 6, 9})
            for (const int mem_level : {1, 5, 8, 9}) {
                CAPTURE(window_bits);
                CAPTURE(level);
                CAPTURE(mem_level);
                Sending link{{.window_bits = window_bits,
                              .level = level,
                              .mem_level = mem_level,
                              .threshold_bytes = 0},
                             window_bits};
                for (unsigned i = 0; i < 20; ++i) {
                    // what repeats after 257 bytes, after 300, and here and there
                    const auto block = noise(i / 4, i % 2 == 0 ? 257 : 300);
                    (void)link.send(block + block + feed_message(i, 40 * i) + block);
                }
            }
}

TEST_CASE("deflate: a large message goes in fragments, compressed or plain as its first piece is")
{
    for (const bool keeps_context : {true, false}) {
        Sending link{{.keeps_context = keeps_context}};
        const auto text = feed_message(1, 1'000'000);
        auto frames = link.send_in_pieces(text, 256u << 10);
        REQUIRE(frames.size() == 4);
        CHECK(frames[0].first == 0x42);
        CHECK(frames[1].first == 0x00);
        CHECK(frames[2].first == 0x00);
        CHECK(frames[3].first == 0x80);
        for (const auto& frame : frames)
            CHECK(!frame.payload.empty());
        frames = link.send_in_pieces(noise(1, 1'000'000), 256u << 10);
        REQUIRE(frames.size() == 4);
        CHECK(frames[0].first == 0x02);
        CHECK(frames[3].first == 0x80);
        // the rest of one that begins well adds next to nothing
        frames = link.send_in_pieces(std::string(300'000, 'a') + noise(2, 700'000), 256u << 10);
        CHECK(frames[0].first == 0x42);
        std::size_t size = 0;
        for (const auto& frame : frames)
            size += frame.payload.size();
        CHECK(size < 702'000);
        CHECK(link.send(feed_message(2, 300))[0].first == 0xc1);
        CHECK(link.send_in_pieces(std::string(300'000, 'z'), 300'000).size() == 1);
    }
}

TEST_CASE("deflate: nothing leaves behind a Close, and nothing is compressed for it")
{
    Sending link{{.threshold_bytes = 0}};
    std::vector<std::byte> out;
    link.protocol().append_close(out, 1000, "bye");
    out.clear();
    CHECK(!link.protocol().append_message(out, MessageKind::text, bytes_of(feed_message(1, 500))));
    CHECK(out.empty());
    CHECK(link.protocol().held_bytes() == 0);
}

TEST_CASE("deflate: memory is as told, from the first compressed message on, and without context "
          "only the thread's")
{
    Sending link{{}};
    CHECK(link.protocol().held_bytes() == 0);
    (void)link.send(feed_message(1, 50));
    CHECK(link.protocol().held_bytes() == 0);
    (void)link.send(feed_message(1, 500));
    CHECK(link.protocol().held_bytes() == (256u << 10));
    Sending small{{.window_bits = 9, .mem_level = 1}};
    (void)small.send(feed_message(1, 500));
    CHECK(small.protocol().held_bytes() == (2u << 10) + 1024);
    Sending without{{.keeps_context = false}};
    (void)without.send(feed_message(1, 500));
    CHECK(without.protocol().held_bytes() == 0);
}

} // namespace deflate_test
