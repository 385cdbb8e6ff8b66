// Encoded messages and borrowed payloads in one order, cut anywhere.
#include "fakes.hpp"

#include <sidecar/transports/detail/codec.hpp>

namespace chunk_test {

using namespace fakes;

TEST_CASE("chunk: its pieces are the stream, from any place to any other")
{
    const std::string one(10, '1'), two(7, '2');
    stream::Chunk chunk;
    const auto append = [&](std::string_view text) {
        for (const auto byte : bytes_of(text))
            chunk.bytes().push_back(byte);
    };
    append("a");
    chunk.borrow(bytes_of(one));
    append("bc");
    chunk.end_message();
    append("small");
    chunk.end_message();
    chunk.borrow(bytes_of(two));
    chunk.borrow(bytes_of(one));
    chunk.end_message();

    const std::string all = "a" + one + "bcsmall" + two + one;
    CHECK(chunk.total_bytes() == all.size());
    CHECK(chunk.ends() == std::vector<std::size_t>{13, 18, 35});
    for (std::size_t from = 0; from <= all.size(); ++from)
        for (std::size_t to = from; to <= all.size(); ++to) {
            std::string text;
            std::size_t pieces = 0;
            chunk.for_each_piece(from, to, [&](std::span<const std::byte> piece) {
                CHECK_FALSE(piece.empty());
                text += text_of(piece);
                ++pieces;
            });
            REQUIRE(text == all.substr(from, to - from));
            REQUIRE(pieces <= 5);
        }
    chunk.clear();
    CHECK(chunk.total_bytes() == 0);
    CHECK(chunk.ends().empty());
}

TEST_CASE("chunk: is full before its pieces are more than one system call takes")
{
    const std::string payload(stream::Chunk::min_borrowed_bytes, 'x');
    stream::Chunk chunk;
    while (!chunk.is_full()) {
        chunk.bytes().push_back(std::byte{});
        chunk.borrow(bytes_of(payload));
        chunk.bytes().push_back(std::byte{});
        chunk.end_message();
    }
    std::size_t pieces = 0;
    chunk.for_each_piece(0, chunk.total_bytes(), [&](std::span<const std::byte>) { ++pieces; });
    CHECK(pieces <= stream::Chunk::max_pieces);
    CHECK(chunk.total_bytes() >= 512u << 10);
}

} // namespace chunk_test
