// The stream itself, on a stream below that the test moves: records in every form, and what is
// there read without waiting.
#include "../stream/fakes.hpp"
#include "support/tls_peer.hpp"
#include "tls/errors.hpp"
#include "tls/tls.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <memory>
#include <utility>

namespace records_test {

using namespace fakes;
namespace asio = boost::asio;

/// A client's stream and the server's end, with the handshake done unless told otherwise.
struct Lab {
    explicit Lab(const TlsPeerOptions& options = {}, bool shakes_hands = true)
        : server_context{options}, server{server_context}
    {
        if (!shakes_hands)
            return;
        connect();
        while (!connecting->is_over())
            shake_hands();
        REQUIRE(connecting->is_good());
        exchange(); // the tickets
        run_until_idle(io);
    }
    void connect()
    {
        connecting.emplace(io, [](Lab& lab) -> Task<> {
            sidecar::TlsOptions options{.ca_file = certificate("ca.pem")};
            lab.tls = co_await sidecar::stream::secure(
                {lab.context, sidecar::TimePoint::max()}, lab.below,
                sidecar::stream::prepare_tls(options, "a fake").value(), "localhost", "a fake");
        }(*this));
        run_until_idle(io);
    }
    void shake_hands()
    {
        server.come(std::exchange(below->taken, {}));
        (void)server.shake_hands();
        below->come(server.take());
        run_until_idle(io);
    }
    /// What the client has sent; the server's answers go back.
    std::string exchange()
    {
        server.come(std::exchange(below->taken, {}));
        auto text = server.read();
        below->come(server.take());
        return text;
    }
    /// A read that may wait; its text once it is over.
    void start_reading(std::size_t bytes = 256)
    {
        reading.emplace(io, [](Lab& lab, std::size_t size) -> Task<> {
            std::string memory(size, '\0');
            const sidecar::stream::ReadBuffers into{asio::buffer(memory)};
            lab.read_error = {};
            const auto got = co_await lab.tls->read_some(into, lab.read_error);
            lab.text += memory.substr(0, got);
        }(*this, bytes));
        run_until_idle(io);
    }
    /// All that is there without waiting.
    std::string read_all(sidecar::error_code& ec, std::size_t step = 4096)
    {
        std::string all;
        do {
            std::string memory(step, '\0');
            const auto got = tls->try_read({asio::buffer(memory)}, ec);
            all += memory.substr(0, got);
        } while (!ec && !tls->is_drained());
        return all;
    }
    void start_writing(std::string bytes)
    {
        writing.emplace(io, [](Lab& lab, std::string memory) -> Task<> {
            const asio::const_buffer from = asio::buffer(memory);
            const std::span<const asio::const_buffer> span{&from, 1};
            lab.write_error = {};
            lab.written = co_await lab.tls->write_some(span, lab.write_error);
        }(*this, std::move(bytes)));
        run_until_idle(io);
    }

    asio::io_context io;
    FakeContext context{io};
    std::shared_ptr<FakeStream> below = std::make_shared<FakeStream>(io);
    TlsServer server_context;
    TlsServerEnd server;
    std::shared_ptr<sidecar::stream::Stream> tls;
    std::optional<Run> connecting, reading, writing;
    std::string text;
    sidecar::error_code read_error, write_error;
    std::size_t written = 0;
};

/// In this order, which operator+ does not promise.
std::string joined(std::initializer_list<std::string> records)
{
    std::string all;
    for (const auto& record : records)
        all += record;
    return all;
}

constexpr int both_versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

TEST_CASE(
    "tls records: three messages and close_notify that came together are read without waiting")
{
    for (const int version : both_versions) {
        Lab lab{{.version = version}};
        lab.below->come(joined({lab.server.seal("one"), lab.server.seal("two"),
                                lab.server.seal("three"), lab.server.seal_goodbye()}));
        const auto waits = lab.below->waits;
        sidecar::error_code ec;
        CHECK(lab.read_all(ec) == "onetwothree");
        CHECK(ec == asio::error::eof);
        lab.start_reading();
        CHECK(lab.reading->is_over());
        CHECK(lab.read_error == asio::error::eof);
        CHECK(lab.below->waits == waits);
    }
}

TEST_CASE("tls records: one record is read in pieces of any size without the stream below")
{
    Lab lab;
    lab.below->come(lab.server.seal("0123456789"));
    for (const char digit : std::string_view{"0123456789"}) {
        lab.text.clear();
        if (digit != '0')
            CHECK_FALSE(lab.tls->is_drained());
        lab.start_reading(1);
        CHECK(lab.text == std::string(1, digit));
    }
    sidecar::error_code ec;
    CHECK(lab.read_all(ec).empty());
    CHECK(lab.tls->is_drained());
    CHECK_FALSE(ec);
}

TEST_CASE("tls records: a write between two reads of one record leaves the rest of it there")
{
    for (const int version : both_versions) {
        Lab lab{{.version = version}};
        lab.below->come(lab.server.seal("0123456789"));
        for (const std::string expected : {"0123", "4567", "89"}) {
            lab.text.clear();
            lab.start_reading(4);
            CHECK(lab.text == expected);
            lab.start_writing(expected);
            CHECK(lab.exchange() == expected);
        }
    }
}

TEST_CASE("tls records: both buffers of a read are filled, one after the other")
{
    Lab lab;
    lab.below->come(joined({lab.server.seal("abc"), lab.server.seal("defg")}));
    std::array<char, 2> first{};
    std::array<char, 10> second{};
    sidecar::error_code ec;
    CHECK(lab.tls->try_read({asio::buffer(first), asio::buffer(second)}, ec) == 7);
    CHECK(std::string(first.data(), 2) + std::string(second.data(), 5) == "abcdefg");
    CHECK(lab.tls->is_drained());
}

TEST_CASE("tls records: a record may be cut at every byte")
{
    for (const int version : both_versions) {
        Lab lab{{.version = version}};
        const auto first = lab.server.seal("a message");
        lab.below->come(first);
        sidecar::error_code ec;
        REQUIRE(lab.read_all(ec) == "a message");
        for (std::size_t cut = 1; cut < first.size(); ++cut) {
            const auto record = lab.server.seal("a message");
            REQUIRE(record.size() == first.size());
            lab.text.clear();
            lab.start_reading();
            lab.below->come(std::string_view{record}.substr(0, cut));
            run_until_idle(lab.io);
            REQUIRE_FALSE(lab.reading->is_over());
            lab.below->come(std::string_view{record}.substr(cut));
            run_until_idle(lab.io);
            REQUIRE(lab.reading->is_good());
            REQUIRE(lab.text == "a message");
        }
    }
}

TEST_CASE("tls records: a handshake may come byte by byte")
{
    for (const int version : both_versions) {
        Lab lab{{.version = version}, false};
        lab.below->max_per_read = 1;
        lab.connect();
        while (!lab.connecting->is_over())
            lab.shake_hands();
        CHECK(lab.connecting->is_good());
    }
}

TEST_CASE("tls records: data that came with the end of the handshake is not lost")
{
    Lab lab{{}, false};
    lab.connect();
    std::string last;
    while (!lab.connecting->is_over()) {
        lab.server.come(std::exchange(lab.below->taken, {}));
        const bool is_done = lab.server.shake_hands();
        auto bytes = lab.server.take();
        if (is_done)
            bytes += lab.server.seal("early");
        else if (SSL_version(lab.server.get()) == TLS1_3_VERSION) {
            std::array<char, 5> early{'f', 'i', 'r', 's', 't'}; // before the client's Finished
            std::size_t taken = 0;
            (void)SSL_write_early_data(lab.server.get(), early.data(), early.size(), &taken);
            bytes += lab.server.take();
        }
        lab.below->come(bytes);
        run_until_idle(lab.io);
    }
    REQUIRE(lab.connecting->is_good());
    lab.server.come(std::exchange(lab.below->taken, {}));
    (void)lab.server.shake_hands();
    lab.below->come(joined({lab.server.take(), lab.server.seal("early")}));
    lab.start_reading();
    sidecar::error_code ec;
    lab.text += lab.read_all(ec);
    CHECK(lab.text.ends_with("early"));
}

TEST_CASE("tls records: KeyUpdate and session tickets between messages need no waiting")
{
    Lab lab{{.version = TLS1_3_VERSION}};
    lab.below->come(joined({lab.server.seal("a"), lab.server.seal_key_update(true),
                            lab.server.seal("b"), lab.server.seal_ticket(),
                            lab.server.seal_key_update(false), lab.server.seal("c")}));
    const auto waits = lab.below->waits;
    sidecar::error_code ec;
    CHECK(lab.read_all(ec) == "abc");
    CHECK(lab.below->waits == waits);
    run_until_idle(lab.io);
    CHECK_FALSE(lab.below->taken.empty()); // the answer went out by itself
    lab.start_writing("under the new key");
    CHECK(lab.exchange() == "under the new key");
    CHECK_FALSE(ec);
}

TEST_CASE(
    "tls records: a KeyUpdate is answered while a write is pending, and never by a second one")
{
    Lab lab{{.version = TLS1_3_VERSION}};
    lab.below->window = 0;
    lab.start_writing("slow");
    lab.start_reading();
    lab.below->come(joined({lab.server.seal_key_update(true), lab.server.seal("x")}));
    run_until_idle(lab.io);
    CHECK(lab.text == "x");
    CHECK_FALSE(lab.writing->is_over());
    lab.below->take(10);
    run_until_idle(lab.io);
    CHECK_FALSE(lab.writing->is_over());
    lab.below->take(1u << 20);
    run_until_idle(lab.io);
    CHECK(lab.writing->is_good()); // a second waiter would have thrown misuse
    CHECK(lab.written == 4);
    lab.start_writing("new");
    CHECK(lab.exchange() == "slownew");
}

TEST_CASE("tls records: a peer that asks for KeyUpdate and never reads makes nothing grow")
{
    Lab lab{{.version = TLS1_3_VERSION}};
    lab.below->window = 0;
    constexpr std::size_t asked = 3000;
    std::string flood;
    for (std::size_t i = 0; i < asked; ++i) {
        flood += lab.server.seal_key_update(true);
        if (i % 16 == 0)
            flood += lab.server.seal("."); // OpenSSL takes no more than a few without a message
    }
    lab.below->come(flood);
    sidecar::error_code ec;
    const auto before = lab.read_all(ec).size();
    REQUIRE_FALSE(ec);
    CHECK(before < asked / 16);
    CHECK(lab.below->left().size() > flood.size() / 8);
    lab.start_reading();
    CHECK_FALSE(lab.reading->is_over());
    lab.below->take(1u << 20);
    while (!lab.below->left().empty() && !lab.read_error) {
        run_until_idle(lab.io);
        if (lab.reading->is_over())
            lab.start_reading();
    }
    CHECK_FALSE(lab.read_error);
    CHECK(before + lab.text.size() == asked / 16 + 1);
}

TEST_CASE(
    "tls records: an end without close_notify is truncated, with it is eof, a reset is itself")
{
    for (const int version : both_versions) {
        Lab cut{{.version = version}};
        cut.below->come(cut.server.seal("last"));
        cut.below->end_with(asio::error::eof);
        sidecar::error_code ec;
        CHECK(cut.read_all(ec) == "last");
        cut.start_reading();
        CHECK(sidecar::stream::is_truncated(cut.read_error));

        Lab whole{{.version = version}};
        whole.start_reading();
        whole.below->come(whole.server.seal_goodbye());
        run_until_idle(whole.io);
        CHECK(whole.read_error == asio::error::eof);

        Lab half{{.version = version}};
        half.start_reading();
        half.below->come(half.server.seal("cut").substr(0, 7));
        half.below->end_with(asio::error::eof);
        run_until_idle(half.io);
        CHECK(sidecar::stream::is_truncated(half.read_error));

        Lab reset{{.version = version}};
        reset.start_reading();
        reset.below->end_with(asio::error::connection_reset);
        run_until_idle(reset.io);
        CHECK(reset.read_error == asio::error::connection_reset);
    }
}

TEST_CASE(
    "tls records: a changed record ends the stream after what came before, and the peer hears it")
{
    for (const int version : both_versions) {
        Lab lab{{.version = version}};
        auto record = lab.server.seal("changed");
        const auto before = lab.server.seal("behind");
        record.back() ^= 1;
        lab.below->come(record + before);
        sidecar::error_code ec;
        CHECK(lab.read_all(ec).empty());
        CHECK(ec == make_error_code(sidecar::stream::TlsEnd::bad_record));
        run_until_idle(lab.io);
        lab.server.come(lab.below->taken);
        CHECK_THROWS_AS((void)lab.server.read(), PeerGone);
        CHECK(lab.server.error().find("bad record mac") != std::string::npos);
        lab.start_writing("no more");
        CHECK(lab.write_error);
    }
}

TEST_CASE("tls records: a failed write tells what is in records that went out whole")
{
    constexpr std::size_t record = 16u << 10;
    Lab lab;
    lab.below->window = 2 * record + 1000;
    lab.start_writing(std::string(100'000, 'x'));
    CHECK_FALSE(lab.writing->is_over());
    lab.below->fail_writing(asio::error::broken_pipe);
    run_until_idle(lab.io);
    CHECK_FALSE(lab.write_error);
    CHECK(lab.written == 2 * record);
    CHECK(lab.exchange() == std::string(2 * record, 'x'));
    lab.start_writing("more");
    CHECK(lab.write_error == asio::error::broken_pipe);
    CHECK(lab.written == 0);
}

TEST_CASE("tls records: what is written in many pieces arrives as one, in full records")
{
    Lab lab;
    std::string expected, all;
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < 60; ++i)
        parts.push_back(std::string(i * 37 % 5000, static_cast<char>('a' + i % 26)));
    for (const auto& part : parts)
        expected += part;
    std::size_t done = 0;
    while (done < expected.size()) {
        Run run{lab.io, [](Lab& l, const std::vector<std::string>& p, std::size_t& at) -> Task<> {
                    std::vector<asio::const_buffer> from;
                    std::size_t skip = at;
                    for (const auto& part : p) {
                        const auto cut = std::min(skip, part.size());
                        skip -= cut;
                        from.push_back(asio::buffer(part) + cut);
                    }
                    sidecar::error_code ec;
                    at += co_await l.tls->write_some(from, ec);
                }(lab, parts, done)};
        run_until_idle(lab.io);
        REQUIRE(run.is_good());
        all += lab.exchange();
    }
    CHECK(all == expected);
}

TEST_CASE("tls records: shutdown says goodbye and ends our half; reading goes on")
{
    for (const int version : both_versions) {
        Lab lab{{.version = version}};
        sidecar::error_code ec;
        Run run{lab.io, lab.tls->shutdown(ec)};
        run_until_idle(lab.io);
        CHECK(run.is_good());
        CHECK_FALSE(ec);
        CHECK(lab.below->is_shut);
        (void)lab.exchange();
        CHECK(lab.server.has_heard_goodbye());
        lab.below->come(lab.server.seal("still here"));
        CHECK(lab.read_all(ec) == "still here");
        lab.below->taken.clear();
        if (version == TLS1_3_VERSION)
            lab.below->come(joined({lab.server.seal_key_update(true), lab.server.seal("!")}));
        else
            lab.below->come(lab.server.seal("!"));
        CHECK(lab.read_all(ec) == "!");
        run_until_idle(lab.io);
        CHECK(lab.below->taken.empty()); // nothing behind the goodbye
        lab.start_writing("late");
        CHECK(lab.write_error);
    }
}

TEST_CASE("tls records: abort ends a read and a write under way, and a handshake")
{
    Lab lab;
    lab.below->window = 0;
    lab.start_reading();
    lab.start_writing("never");
    lab.tls->abort();
    run_until_idle(lab.io);
    CHECK(lab.reading->is_over());
    CHECK(lab.read_error == asio::error::operation_aborted);
    CHECK(lab.writing->is_over());
    CHECK(lab.write_error == asio::error::operation_aborted);
    sidecar::error_code ec;
    std::array<char, 10> memory;
    CHECK(lab.tls->try_read({asio::buffer(memory)}, ec) == 0);
    CHECK(ec == asio::error::operation_aborted);
    CHECK(lab.tls->is_aborted());

    Lab early{{}, false};
    early.connect();
    early.below->abort();
    run_until_idle(early.io);
    CHECK(early.connecting->is_over());
    CHECK(early.connecting->error() == asio::error::operation_aborted);
}

TEST_CASE(
    "tls records: a cancelled write leaves whole records behind it, a cancelled read nothing lost")
{
    Lab lab;
    lab.below->window = 0;
    const std::string first = "first";
    asio::cancellation_signal signal;
    bool is_over = false;
    asio::co_spawn(
        lab.io,
        [](Lab& l, const std::string& bytes) -> Task<> {
            const asio::const_buffer from = asio::buffer(bytes);
            const std::span<const asio::const_buffer> span{&from, 1};
            sidecar::error_code ec;
            (void)co_await l.tls->write_some(span, ec);
        }(lab, first),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr) { is_over = true; }));
    run_until_idle(lab.io);
    signal.emit(asio::cancellation_type::terminal);
    run_until_idle(lab.io);
    CHECK(is_over);
    lab.below->take(1u << 20);
    lab.start_writing("second");
    CHECK(lab.exchange() == "firstsecond");

    bool is_read_over = false;
    asio::co_spawn(
        lab.io,
        [](Lab& l) -> Task<> {
            std::array<char, 100> memory;
            const sidecar::stream::ReadBuffers into{asio::buffer(memory)};
            sidecar::error_code ec;
            (void)co_await l.tls->read_some(into, ec);
        }(lab),
        asio::bind_cancellation_slot(signal.slot(),
                                     [&](std::exception_ptr) { is_read_over = true; }));
    run_until_idle(lab.io);
    signal.emit(asio::cancellation_type::terminal);
    run_until_idle(lab.io);
    CHECK(is_read_over);
    lab.below->come(lab.server.seal("kept"));
    lab.start_reading();
    CHECK(lab.text == "kept");
}

TEST_CASE("tls records: TLS goes over TLS")
{
    Lab outer;
    TlsServerEnd inner{outer.server_context};
    std::shared_ptr<sidecar::stream::Stream> tls;
    Run connecting{
        outer.io, [](Lab& lab, std::shared_ptr<sidecar::stream::Stream>& made) -> Task<> {
            sidecar::TlsOptions options{.ca_file = certificate("ca.pem")};
            made = co_await sidecar::stream::secure(
                {lab.context, sidecar::TimePoint::max()}, lab.tls,
                sidecar::stream::prepare_tls(options, "a fake").value(), "feed.example", "a fake");
        }(outer, tls)};
    const auto carry = [&](auto&& work) {
        run_until_idle(outer.io);
        inner.come(outer.exchange());
        work();
        if (const auto bytes = inner.take(); !bytes.empty())
            outer.below->come(outer.server.seal(bytes));
        run_until_idle(outer.io);
    };
    while (!connecting.is_over())
        carry([&] { (void)inner.shake_hands(); });
    REQUIRE(connecting.is_good());
    carry([&] { REQUIRE(inner.shake_hands()); });
    CHECK(inner.asked_name() == "feed.example");
    const std::string large(200'000, 'L');
    std::string all;
    const auto bytes = inner.seal(large);
    for (std::size_t at = 0; at < bytes.size(); at += 30'000)
        outer.below->come(outer.server.seal(std::string_view{bytes}.substr(at, 30'000)));
    sidecar::error_code ec;
    do {
        std::string memory(70'000, '\0');
        const auto got = tls->try_read({asio::buffer(memory)}, ec);
        all += memory.substr(0, got);
    } while (!ec && !tls->is_drained());
    CHECK(all == large);
}

/// A ticket of two records, of which the first is returned apart.
std::pair<std::string, std::string> large_ticket(Lab& lab)
{
    SSL_CTX_set_session_ticket_cb(
        const_cast<SSL_CTX*>(lab.server_context.get()),
        [](SSL* ssl, void*) {
            const std::string data(700, 't');
            return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), data.data(), data.size());
        },
        nullptr, nullptr);
    SSL_set_max_send_fragment(lab.server.get(), 512);
    const auto records = lab.server.seal_ticket();
    const auto first_bytes =
        5u + (static_cast<unsigned char>(records[3]) << 8) + static_cast<unsigned char>(records[4]);
    REQUIRE(first_bytes < records.size());
    return {records.substr(0, first_bytes), records.substr(first_bytes)};
}

TEST_CASE("tls records: a write waits for the rest of a ticket, which a pending read takes in")
{
    Lab lab{{.version = TLS1_3_VERSION}};
    const auto [first, rest] = large_ticket(lab);
    lab.start_reading();
    lab.below->come(first);
    run_until_idle(lab.io);
    lab.start_writing("written");
    CHECK_FALSE(lab.writing->is_over());
    lab.below->come(rest);
    run_until_idle(lab.io);
    REQUIRE(lab.writing->is_good());
    CHECK_FALSE(lab.write_error);
    CHECK(lab.exchange() == "written");
    lab.below->come(lab.server.seal("read"));
    run_until_idle(lab.io);
    CHECK(lab.reading->is_good());
    CHECK(lab.text == "read");
}

TEST_CASE("tls records: a write takes in the rest of a ticket itself where nobody reads")
{
    Lab lab{{.version = TLS1_3_VERSION}};
    const auto [first, rest] = large_ticket(lab);
    lab.below->come(first);
    sidecar::error_code ec;
    CHECK(lab.read_all(ec).empty());
    lab.start_writing("written");
    CHECK_FALSE(lab.writing->is_over());
    CHECK(lab.read_all(ec).empty()); // not below, where the write waits
    lab.below->come(joined({rest, lab.server.seal("read")}));
    run_until_idle(lab.io);
    REQUIRE(lab.writing->is_good());
    CHECK_FALSE(lab.write_error);
    CHECK(lab.exchange() == "written");
    CHECK_FALSE(lab.tls->is_drained());
    CHECK(lab.read_all(ec) == "read");

    const auto [begun, never] = large_ticket(lab);
    lab.below->come(begun);
    CHECK(lab.read_all(ec).empty());
    lab.start_writing("lost");
    lab.below->end_with(asio::error::eof);
    run_until_idle(lab.io);
    CHECK(lab.writing->is_over());
    CHECK(sidecar::stream::is_truncated(lab.write_error));
}

TEST_CASE("tls records: a reader goes on where the write that took in a ticket was cancelled")
{
    Lab lab{{.version = TLS1_3_VERSION}};
    const auto [first, rest] = large_ticket(lab);
    lab.below->come(first);
    sidecar::error_code ec;
    CHECK(lab.read_all(ec).empty());
    asio::cancellation_signal signal;
    bool is_over = false;
    asio::co_spawn(
        lab.io,
        [](Lab& l) -> Task<> {
            const asio::const_buffer from = asio::buffer("x", 1);
            const std::span<const asio::const_buffer> span{&from, 1};
            sidecar::error_code error;
            (void)co_await l.tls->write_some(span, error);
        }(lab),
        asio::bind_cancellation_slot(signal.slot(), [&](std::exception_ptr) { is_over = true; }));
    run_until_idle(lab.io);
    lab.start_reading();
    CHECK_FALSE(lab.reading->is_over());
    signal.emit(asio::cancellation_type::terminal);
    run_until_idle(lab.io);
    CHECK(is_over);
    lab.below->come(joined({rest, lab.server.seal("read")}));
    run_until_idle(lab.io);
    CHECK(lab.reading->is_good());
    CHECK(lab.text == "read");
}

} // namespace records_test
