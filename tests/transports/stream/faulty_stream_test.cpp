// The draws of Faults, and a socket that has them.
#include "faulty_stream.hpp"
#include "support/own_context.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace faulty_stream_test {

using namespace sidecar;
using namespace sidecar::stream;
using namespace std::chrono_literals;
namespace asio = boost::asio;

using Kind = ConnectionFaults::Kind;

std::string text_of(const ConnectionFaults::Operation& operation)
{
    return std::to_string(operation.delay.count()) + " " + std::to_string(operation.part)
           + (operation.fails ? " fails" : "") + (operation.stalls ? " stalls" : "");
}

std::vector<std::string> reads(ConnectionFaults faults, int count = 200)
{
    std::vector<std::string> all;
    for (int i = 0; i < count; ++i)
        all.push_back(text_of(faults.next(Kind::read)));
    return all;
}

/// A faulty stream, and the descriptor of its peer.
struct Pair {
    explicit Pair(const Faults& faults, const Attempt& attempt = {})
    {
        int fds[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        peer = fds[1];
        SocketStream::Socket socket{own.io};
        socket.assign({AF_UNIX, 0}, fds[0]);
        stream = std::make_unique<FaultyStream>(
            own.context(), std::make_shared<SocketStream>(std::move(socket)),
            std::make_shared<ConnectionFaults>(faults, attempt));
    }
    ~Pair() { ::close(peer); }

    void send(std::string_view bytes) const
    {
        REQUIRE(::send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL)
                == static_cast<ssize_t>(bytes.size()));
    }
    /// All that has arrived; "(nothing)" or "(the end)".
    [[nodiscard]] std::string received() const
    {
        char bytes[4096];
        const auto got = ::recv(peer, bytes, sizeof bytes, MSG_DONTWAIT);
        return got > 0    ? std::string(bytes, static_cast<std::size_t>(got))
               : got == 0 ? "(the end)"
                          : "(nothing)";
    }
    /// One read_some(), waited for: its bytes, or the name of its error.
    std::string read(std::size_t room = 4096)
    {
        std::string result;
        own.run(read_into(result, room));
        return result;
    }
    Task<> read_into(std::string& result, std::size_t room)
    {
        std::string bytes(room, '\0');
        error_code ec;
        const ReadBuffers into{asio::buffer(bytes)};
        const auto got = co_await stream->read_some(into, ec);
        result = ec ? ec.message() : bytes.substr(0, got);
    }
    /// One write_some(): how many bytes it took, or the name of its error.
    std::string write(std::string_view text)
    {
        std::string result;
        own.run(write_from(result, std::string{text}));
        return result;
    }
    Task<> write_from(std::string& result, std::string text)
    {
        error_code ec;
        const std::array<asio::const_buffer, 2> from{asio::buffer(text.data(), 1),
                                                     asio::buffer(text) + 1};
        const auto got = co_await stream->write_some(from, ec);
        result = ec ? ec.message() : std::to_string(got);
    }

    OwnContext own;
    int peer = -1;
    std::unique_ptr<FaultyStream> stream;
};

const auto reset_text = error_code{asio::error::connection_reset}.message();
const auto aborted_text = error_code{asio::error::operation_aborted}.message();

TEST_CASE("faults: seed, link, connection and attempt choose the draws, and nothing else does")
{
    const Faults faults{.seed = 7,
                        .latency = 0.3,
                        .short_read = 0.3,
                        .short_write = 0.3,
                        .pause = 0.3,
                        .reset = 0.3,
                        .stall = 0.3};
    const auto all = reads({faults, {}});
    CHECK(reads({faults, {}}) == all);
    CHECK(reads({faults, {.connection = 2}}) != all);
    CHECK(reads({faults, {.number = 2}}) != all);
    CHECK(reads({faults, {.link = LinkId{1}}}) != all);
    auto other = faults;
    other.seed = 8;
    CHECK(reads({other, {}}) != all);

    ConnectionFaults with_writes{faults, {}};
    for (const auto& read : all) {
        (void)with_writes.next(Kind::write);
        CHECK(text_of(with_writes.next(Kind::read)) == read);
    }

    // Without the other rates the resets are the same
    ConnectionFaults resets_only{{.seed = 7, .reset = 0.3}, {}};
    int count = 0;
    for (const auto& read : all) {
        const bool fails = resets_only.next(Kind::read).fails;
        count += fails;
        CHECK(fails == (read.find("fails") != read.npos));
    }
    CHECK(count > 40);
    CHECK(count < 80);
}

TEST_CASE("faults: a rate of 1 always hits, and a rate of 0 never")
{
    ConnectionFaults always{{.latency = 1,
                             .max_latency = 1ms,
                             .short_read = 1,
                             .pause = 1,
                             .max_pause = 1s,
                             .reset = 1,
                             .refuse = 1,
                             .stall = 1},
                            {}};
    ConnectionFaults never{{.max_latency = 1ms}, {}};
    bool has_long = false;
    for (int i = 0; i < 1000; ++i) {
        const auto read = always.next(Kind::read);
        CHECK((read.fails && read.stalls && read.part < 1));
        CHECK(read.delay <= 1001ms);
        has_long = has_long || read.delay > 900ms;
        for (const std::size_t bytes : {2u, 3u, 1000u})
            CHECK((read.part_of(bytes) >= 1 && read.part_of(bytes) < bytes));
        CHECK(read.part_of(1) == 1);
        const auto write = always.next(Kind::write);
        CHECK((write.delay <= 1ms && write.part == 1 && write.part_of(9) == 9));
        CHECK(always.next(Kind::connect).fails);
        CHECK(text_of(never.next(Kind::read)) == "0 1.000000");
    }
    CHECK(has_long);
    CHECK(never.note().empty());
}

TEST_CASE("faulty stream: short reads and writes lose nothing and keep the order")
{
    Pair pair{{.seed = 3, .short_read = 1, .short_write = 1}};
    const std::string text = "a text of several pieces";
    pair.send(text);
    std::string got, piece;
    for (int i = 0; got.size() < text.size(); ++i) {
        if (i % 2 == 0) {
            piece = pair.read();
        } else {
            piece.assign(4096, '\0');
            error_code ec;
            piece.resize(pair.stream->try_read({asio::buffer(piece)}, ec));
            CHECK_FALSE(ec);
        }
        const auto left = text.size() - got.size();
        CHECK((!piece.empty() && (piece.size() < left || left == 1)));
        got += piece;
        CHECK(pair.stream->is_drained() == (got.size() == text.size()));
    }
    CHECK(got == text);

    std::string sent;
    while (sent.size() < text.size()) {
        const auto rest = text.substr(sent.size());
        const auto taken = static_cast<std::size_t>(std::stoi(pair.write(rest)));
        CHECK((taken >= 1 && (taken < rest.size() || taken == 1)));
        sent += rest.substr(0, taken);
        CHECK(pair.received() == rest.substr(0, taken));
    }
}

TEST_CASE("faulty stream: a late read waits, and finds nothing before")
{
    const Faults faults{
        .seed = 5, .latency = 1, .max_latency = 20ms, .pause = 1, .max_pause = 20ms};
    const auto delay = ConnectionFaults{faults, {}}.next(Kind::read).delay;
    Pair pair{faults};
    pair.send("hello");
    char room[16];
    error_code ec;
    const auto before = std::chrono::steady_clock::now();
    CHECK(pair.stream->try_read({asio::buffer(room)}, ec) == 0);
    CHECK_FALSE(ec);
    CHECK(pair.read() == "hello");
    CHECK(std::chrono::steady_clock::now() - before >= delay);
}

TEST_CASE("faulty stream: a cancelled read has consumed nothing")
{
    Pair pair{{.latency = 1, .max_latency = 50ms}};
    pair.send("hello");
    asio::cancellation_signal signal;
    std::exception_ptr exception;
    std::string result;
    asio::co_spawn(
        pair.own.io, pair.read_into(result, 16),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr e) { exception = e; }));
    while (pair.own.io.poll() != 0) { // until the read waits for its time
    }
    CHECK(result.empty());
    signal.emit(asio::cancellation_type::terminal);
    pair.own.io.restart();
    pair.own.io.run();
    CHECK((exception || result == aborted_text));
    CHECK(pair.read() == "hello");
}

TEST_CASE("faulty stream: the end of the peer is read behind its bytes")
{
    Pair pair{{.short_read = 1}};
    pair.send("hi");
    ::shutdown(pair.peer, SHUT_WR);
    CHECK(pair.read() == "h");
    CHECK(pair.read() == "i");
    CHECK(pair.read() == error_code{asio::error::eof}.message());
    CHECK(pair.read() == error_code{asio::error::eof}.message());
}

TEST_CASE("faulty stream: after a reset both directions fail, and the peer sees the end")
{
    for (const bool by_write : {false, true}) {
        CAPTURE(by_write);
        Pair pair{{.reset = 1}};
        pair.send("hello");
        CHECK((by_write ? pair.write("hello") : pair.read()) == reset_text);
        CHECK((by_write ? pair.read() : pair.write("hello")) == reset_text);
        CHECK_FALSE(pair.stream->is_aborted());
        CHECK(pair.received() != "hello");
        pair.stream->abort();
        CHECK(pair.read() == aborted_text);
    }
}

TEST_CASE("faulty stream: a reset by a write ends the read that waits")
{
    Pair pair{{.reset = 1}};
    std::string read;
    asio::co_spawn(pair.own.io, pair.read_into(read, 16), [](std::exception_ptr) {});
    CHECK(pair.write("hello") == reset_text);
    CHECK(read == reset_text);
}

TEST_CASE("faulty stream: after a stall nothing moves, until the abort")
{
    for (const bool by_write : {false, true}) {
        CAPTURE(by_write);
        Pair pair{{.stall = 1}};
        pair.send("hello");
        CHECK((by_write ? pair.write("hello") : pair.read()) == (by_write ? "5" : "hello"));
        CHECK(pair.received() == (by_write ? "hello" : "(nothing)"));
        pair.send("more");
        std::string read, written;
        asio::co_spawn(pair.own.io, pair.read_into(read, 16), [](std::exception_ptr) {});
        asio::co_spawn(pair.own.io, pair.write_from(written, "hello"), [](std::exception_ptr) {});
        error_code ec;
        pair.own.run([](Stream& stream, error_code& end) -> Task<> {
            co_await stream.shutdown(end);
            stream.abort();
            end = stream.is_aborted() ? end : error_code{asio::error::fault};
        }(*pair.stream, ec));
        CHECK_FALSE(ec);
        CHECK(read == aborted_text);
        CHECK(written == aborted_text);
        CHECK(pair.received() != "hello");
    }
}

} // namespace faulty_stream_test
