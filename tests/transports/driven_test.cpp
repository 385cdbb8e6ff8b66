// Transports without a sidecar: what recording, simulation and a conformance kit stand on.
#include "support/own_context.hpp"
#include "support/raw_peer.hpp"

#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <future>

using namespace sidecar;

namespace {

using Strings = std::vector<std::string>;

/// Reads until so many messages have come.
template <class T>
Task<> connect_and_read(T& transport, Context ctx, OwnSink& sink, std::size_t count)
{
    co_await transport.connect(ctx);
    while (sink.messages.size() < count) {
        co_await transport.read(ctx, sink);
        if (sink.messages.size() == sink.limit)
            sink.limit = SIZE_MAX;
    }
}

} // namespace

TEST_CASE("driven: TCP's read puts into a sink of the test's own, and puts again what it refused")
{
    RawPeer peer{[](RawConnection& c) {
        c.send("one\ntwo\nthree\n");
        c.wait_for_end();
    }};
    OwnContext own;
    OwnSink sink;
    sink.limit = 2;
    Tcp<Lines> tcp{{.host = "127.0.0.1", .port = peer.port()}};
    own.run(connect_and_read(tcp, own.context(), sink, 3));
    CHECK(sink.messages == Strings{"one", "two", "three"});
    tcp.abort();
}

TEST_CASE("driven: TCP's write takes a batch of the test's own, and marks what is written")
{
    std::promise<std::string> got;
    RawPeer peer{[&](RawConnection& c) {
        got.set_value(c.read_until("c\n"));
        c.wait_for_end();
    }};
    OwnContext own;
    OwnBatch batch{{"a", "b", "c"}};
    Tcp<Lines> tcp{{.host = "127.0.0.1", .port = peer.port()}};
    own.run([](Tcp<Lines>& t, Context ctx, Batch b) -> Task<> {
        co_await t.connect(ctx);
        co_await t.write(ctx, b);
    }(tcp, own.context(), batch.batch()));
    auto text = got.get_future();
    REQUIRE(text.wait_for(std::chrono::seconds{10}) == std::future_status::ready);
    CHECK(text.get() == "a\nb\nc\n");
    CHECK(batch.written == 3);
    tcp.abort();
}

TEST_CASE("driven: WebSocket's read puts into a sink of the test's own")
{
    RawPeer peer{[](RawConnection& c) {
        (void)c.accept_websocket();
        c.send(frame(0x81, "text") + frame(0x02, "half ") + frame(0x80, "and half"));
        c.wait_for_end();
    }};
    OwnContext own;
    OwnSink sink;
    WebSocket websocket{{.url = fmt::format("ws://127.0.0.1:{}/", peer.port())}};
    own.run(connect_and_read(websocket, own.context(), sink, 2));
    CHECK(sink.messages == Strings{"text", "half and half"});
    CHECK(sink.kinds == std::vector{MessageKind::text, MessageKind::binary});
    CHECK(own.phases.back() == Phase::handshaking);
    websocket.abort();
}

TEST_CASE("driven: WebSocket's read returns the messages in front of a Close before it ends")
{
    RawPeer peer{[](RawConnection& c) {
        (void)c.accept_websocket();
        c.send(frame(0x81, "one") + frame(0x81, "two") + frame(0x88, "\x03\xe8"));
        c.wait_for_end();
    }};
    OwnContext own;
    OwnSink sink;
    WebSocket websocket{{.url = fmt::format("ws://127.0.0.1:{}/", peer.port())}};
    own.run(connect_and_read(websocket, own.context(), sink, 2)); // throws if the read ends with it
    CHECK(sink.messages == Strings{"one", "two"});
    CHECK_THROWS_WITH_AS(own.run(websocket.read(own.context(), sink)), doctest::Contains("closed"),
                         Exception);
    websocket.abort();
}
