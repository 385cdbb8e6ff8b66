// Bytes that came before a stream, and the stream behind them.
#include "connector.hpp"
#include "fakes.hpp"

#include <boost/asio/detached.hpp>
#include <doctest/doctest.h>

#include <array>
#include <string>

namespace prefixed_test {

using namespace fakes;
using stream::PrefixedStream;
using stream::ReadBuffers;

struct Fixture {
    boost::asio::io_context io;
    std::shared_ptr<FakeStream> below = std::make_shared<FakeStream>(io);
    std::array<char, 4> a{};
    std::array<char, 4> b{};

    PrefixedStream over(std::string_view prefix)
    {
        const auto bytes = bytes_of(prefix);
        return {{bytes.begin(), bytes.end()}, below};
    }
    /// What one read gave, and the error behind a '!'.
    std::string read(PrefixedStream& stream, ReadBuffers into)
    {
        std::string text;
        boost::asio::co_spawn(
            io,
            [](PrefixedStream& from, ReadBuffers to, std::string& result) -> Task<> {
                error_code ec;
                const auto got = co_await from.read_some(to, ec);
                result = joined(to, got) + (ec ? "!" + ec.message() : "");
            }(stream, into, text),
            boost::asio::detached);
        io.restart();
        io.run();
        return text;
    }
    std::string try_read(PrefixedStream& stream, ReadBuffers into)
    {
        error_code ec;
        const auto got = stream.try_read(into, ec);
        return joined(into, got) + (ec ? "!" + ec.message() : "");
    }
    static std::string joined(const ReadBuffers& buffers, std::size_t bytes)
    {
        std::string text(bytes, '\0');
        boost::asio::buffer_copy(boost::asio::buffer(text), buffers);
        return text;
    }
};

TEST_CASE_FIXTURE(Fixture, "prefixed: the prefix comes first, in pieces as they are asked for")
{
    auto stream = over("abcdefghij");
    below->come("XYZ");
    CHECK_FALSE(stream.is_drained());
    CHECK(read(stream, {boost::asio::buffer(a)}) == "abcd");
    CHECK_FALSE(stream.is_drained());
    CHECK(try_read(stream, {boost::asio::buffer(a, 1), boost::asio::buffer(b)}) == "efghi");
    CHECK_FALSE(stream.is_drained());
    CHECK(read(stream, {boost::asio::buffer(a), boost::asio::buffer(b)}) == "j");
    CHECK(read(stream, {boost::asio::buffer(a), boost::asio::buffer(b)}) == "XYZ");
}

TEST_CASE_FIXTURE(Fixture, "prefixed: behind the prefix every answer is that of the stream below")
{
    auto stream = over("ab");
    CHECK(try_read(stream, {boost::asio::buffer(a)}) == "ab");
    below->come("XYZWV");
    CHECK(try_read(stream, {boost::asio::buffer(a)}) == "XYZW");
    CHECK(stream.is_drained() == below->is_drained());
    CHECK(try_read(stream, {boost::asio::buffer(a)}) == "V");
    CHECK(stream.is_drained() == below->is_drained());
    CHECK(stream.is_drained());
    below->end_with(boost::asio::error::eof);
    CHECK(read(stream, {boost::asio::buffer(a)}).starts_with("!"));
}

TEST_CASE_FIXTURE(Fixture, "prefixed: after abort() nothing of the prefix is given any more")
{
    auto stream = over("ab");
    stream.abort();
    CHECK(stream.is_aborted());
    CHECK(below->is_aborted());
    CHECK(try_read(stream, {boost::asio::buffer(a)}).starts_with("!"));
    CHECK(read(stream, {boost::asio::buffer(a)}).starts_with("!"));
}

} // namespace prefixed_test
