#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <poll.h>
#include <thread>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;
using Feed = sidecar::Sidecar<Mock>;

namespace {

struct Fixture {
    explicit Fixture(Options options = {}, std::size_t max_message_bytes = 1u << 20)
        : feed{{.peer = peer, .max_message_bytes = max_message_bytes}, quiet(std::move(options))}
    {
    }
    static Options quiet(Options options)
    {
        if (!options.log)
            options.log = [](LogLevel, std::string_view) {};
        return options;
    }
    MockPeer peer;
    Feed feed;
};

std::string text(const Result<Message>& message)
{
    return message ? std::string{message->text()} : message.error().message();
}

bool is_readable(int fd)
{
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 1;
}

} // namespace

TEST_CASE("start: connects, and a second start says that it runs already")
{
    Fixture f;
    CHECK(f.feed.state() == State::idle);
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.state() == State::connected);
    CHECK(f.feed.start(1s).error() == Error::already_started);
    CHECK(f.feed.stop().clean());
    CHECK(f.feed.state() == State::stopped);
}

TEST_CASE("start: a refused connect gives its cause, and start may be called again")
{
    Fixture f;
    f.peer.refuse_connect(boost::asio::error::connection_refused);
    const auto refused = f.feed.start(1s);
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == Error::connect_failed);
    CHECK(refused.error().cause() == boost::asio::error::connection_refused);
    CHECK(refused.error().endpoint() == "mock");
    f.peer.allow_connect();
    REQUIRE(f.feed.start(1s));
    CHECK(f.peer.connect_count() == 2);
}

TEST_CASE("start: gives up at its deadline and says what it was at")
{
    Fixture f;
    f.peer.delay_connect(Duration::max());
    const auto late = f.feed.start(30s);
    CHECK(late.error() == Error::timed_out);
    CHECK(late.error().message().find("connecting") != std::string::npos);
    f.peer.delay_connect(10s);
    REQUIRE(f.feed.start(11s));
}

TEST_CASE("start: request_stop from another thread ends it at once")
{
    Fixture f;
    f.peer.delay_connect(Duration::max());
    std::thread stopper{[&] {
        while (f.peer.connect_count() == 0)
            std::this_thread::yield();
        f.feed.request_stop();
    }};
    CHECK(f.feed.start(Duration::max()).error() == Error::stopping);
    stopper.join();
}

TEST_CASE("start: options that make no sense are named")
{
    const auto why = [](Options options) {
        Fixture f{std::move(options)};
        const auto started = f.feed.start(1s);
        REQUIRE_FALSE(started);
        CHECK(started.error() == Error::bad_options);
        return started.error().message();
    };
    CHECK(why({.inbox = {.bytes = 1000, .messages = 1}}).find("inbox") != std::string::npos);
    CHECK(why({.outbox = {.bytes = 1 << 20, .messages = 0}}).find("outbox") != std::string::npos);
    CHECK(why({.stop = {.total = 0s}}).find("stop") != std::string::npos);
}

TEST_CASE("restart: a stopped sidecar starts anew, without what the last run left unread")
{
    Fixture f;
    for (int run = 0; run < 3; ++run) {
        REQUIRE(f.feed.start(1s));
        f.peer.deliver("unread");
        f.peer.deliver("also unread");
        CHECK(text(f.feed.receive(1s)) == "unread");
        CHECK(f.feed.stop().clean());
    }
    CHECK(f.peer.connect_count() == 3);
}

TEST_CASE("receive: waits on the transport's clock; zero polls")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.receive(0s).error() == Error::timed_out);
    f.peer.deliver_after(3600s, "an hour later");
    CHECK(f.feed.receive(3599s).error() == Error::timed_out);
    CHECK(text(f.feed.receive(2s)) == "an hour later");
}

TEST_CASE("receive: before a start it says so; on the loop's own thread it is misuse")
{
    Fixture f;
    CHECK(f.feed.receive(1s).error() == Error::not_started);
    REQUIRE(f.feed.start(1s));
    const auto inside = f.feed.call([&](Context) -> Task<Error> {
        const auto result = f.feed.receive(1s);
        co_return result.error() == Error::misuse ? Error::misuse : Error::cancelled;
    });
    CHECK(inside.value() == Error::misuse);
}

TEST_CASE("receive: large messages arrive whole, and text and bytes keep their kind")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    const std::string large(900'000, 'L');
    f.peer.deliver(large);
    f.peer.deliver(std::as_bytes(std::span{"ab", 2}));
    const auto first = f.feed.receive(1s);
    CHECK(text(first) == large);
    CHECK(first->kind() == MessageKind::text);
    CHECK(f.feed.receive(1s)->kind() == MessageKind::bytes);
}

TEST_CASE("receive: a failed read is seen after what was queued before it, and again when nothing "
          "is left")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("before");
    f.peer.fail_read(boost::asio::error::connection_reset);
    CHECK(text(f.feed.receive(1s)) == "before");
    const auto failed = f.feed.receive(1s);
    CHECK(failed.error() == Error::disconnected);
    CHECK(failed.error().cause() == boost::asio::error::connection_reset);
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.feed.state() == State::disconnected);
    CHECK(f.feed.send("x").error() == Error::not_connected);
    CHECK(f.feed.errors().size() == 1);
    CHECK(f.feed.stop().first_error.value() == Error::disconnected);
}

TEST_CASE("receive: the peer's close code and reason are in the failure")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.close(4001, "enough");
    const auto closed = f.feed.receive(1s);
    CHECK(closed.error() == Error::closed_by_peer);
    CHECK(closed.error().close_code() == 4001);
    CHECK(closed.error().close_reason() == "enough");
}

TEST_CASE("receive: a message above the limit ends the link and names both sizes")
{
    Fixture f{{}, 100};
    REQUIRE(f.feed.start(1s));
    f.peer.deliver(std::string(101, 'x'));
    const auto failed = f.feed.receive(1s);
    CHECK(failed.error() == Error::too_big);
    CHECK(failed.error().message().find("101 bytes, the limit is 100") != std::string::npos);
}

TEST_CASE("poll: hands over what is there, at most the limit, and then what the link failed with")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    for (int i = 0; i < 5; ++i)
        f.peer.deliver(std::to_string(i));
    f.peer.drop();
    REQUIRE(f.feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    std::string seen;
    const auto add = [&](const MessageView& message) { seen += message.text(); };
    CHECK(f.feed.poll(add, 2).value() == 2);
    CHECK(f.feed.poll(add, 0).value() == 0);
    CHECK(f.feed.poll(add).value() == 3);
    CHECK(seen == "01234");
    CHECK(f.feed.poll(add).error() == Error::disconnected);
}

TEST_CASE("poll: what the handler throws passes through, its message counted as taken; receiving "
          "inside is misuse")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("a");
    f.peer.deliver("b");
    REQUIRE(f.feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK_THROWS_AS((void)f.feed.poll([](const MessageView&) { throw std::runtime_error{"no"}; }),
                    std::runtime_error);
    Error inside{};
    CHECK(f.feed
              .poll([&](const MessageView& message) {
                  CHECK(message.text() == "b");
                  if (f.feed.receive(1s).error() == Error::misuse)
                      inside = Error::misuse;
              })
              .value()
          == 1);
    CHECK(inside == Error::misuse);
}

TEST_CASE("next_event: gives up, messages, down and stopped in their order")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.deliver("a");
    f.peer.close(1000, "bye");
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::up);
    const auto message = f.feed.next_event(1s);
    CHECK(message->kind == Event::Kind::message);
    CHECK(message->message.text() == "a");
    const auto down = f.feed.next_event(1s);
    CHECK(down->kind == Event::Kind::down);
    CHECK(down->failure.value() == Error::closed_by_peer);
    f.feed.stop();
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::stopped);
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::stopped);
}

TEST_CASE("inbox: when it is full reading pauses, nothing is lost, and reading goes on once there "
          "is room")
{
    Fixture f{{.inbox = {.bytes = 4096, .messages = 8}}, 512};
    REQUIRE(f.feed.start(1s));
    for (int i = 0; i < 100; ++i)
        f.peer.deliver(std::to_string(i));
    REQUIRE(f.feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK(f.feed.stats().inbox_messages == 8);
    CHECK(f.feed.stats().reading_pauses == 1);
    bool in_order = true;
    for (int i = 0; i < 100; ++i)
        in_order &= text(f.feed.receive(1s)) == std::to_string(i);
    CHECK(in_order);
    CHECK(f.feed.stats().inbox_peak_messages == 8);
    CHECK(f.feed.stats().messages_received == 100);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("send: what was sent arrives in order, and a burst takes few writes")
{
    Fixture f;
    CHECK(f.feed.send("x").error() == Error::not_started);
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    for (int i = 0; i < 1000; ++i)
        REQUIRE(f.feed.send(std::to_string(i)));
    CHECK(f.feed.flush(1s).error() == Error::timed_out);
    f.peer.release_writes();
    REQUIRE(f.feed.flush(1s));
    const auto sent = f.peer.sent();
    REQUIRE(sent.size() == 1000);
    CHECK(sent.front() == "0");
    CHECK(sent.back() == "999");
    CHECK(f.peer.write_count() <= 3);
    CHECK(f.feed.stats().messages_sent == 1000);
}

TEST_CASE("send: a full outbox says full, or waits until there is room or the deadline has come")
{
    Fixture f{{.outbox = {.bytes = 1 << 16, .messages = 4}}};
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    for (int i = 0; i < 4; ++i)
        REQUIRE(f.feed.send("x"));
    CHECK(f.feed.send("y").error() == Error::full);
    CHECK(f.feed.send("y", 10s).error() == Error::timed_out);
    std::thread releaser{[&] { f.peer.release_writes(); }};
    // Virtual time would not wait for the other thread's turn
    CHECK(f.feed.send("z", Duration::max()));
    releaser.join();
    REQUIRE(f.feed.flush(1s));
    CHECK(f.peer.sent().size() == 5);
    CHECK(f.feed.stats().sends_refused == 2);
}

TEST_CASE("send: a message that no outbox could hold is too big")
{
    Fixture f{{.outbox = {.bytes = 4096, .messages = 10}}};
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.send(std::string(5000, 'x')).error() == Error::too_big);
}

TEST_CASE("send: a failed write ends the link; what was not written is counted exactly")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    f.peer.hold_writes();
    for (int i = 0; i < 10; ++i)
        REQUIRE(f.feed.send("x"));
    f.peer.fail_write(boost::asio::error::broken_pipe, 4);
    f.peer.release_writes();
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.peer.sent().size() == 4);
    const auto report = f.feed.stop();
    CHECK(report.unsent_messages == 6);
    CHECK(report.first_error->cause() == boost::asio::error::broken_pipe);
}

TEST_CASE("open: a further link shares the inbox; its failure leaves the others alone")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    MockPeer second;
    auto link = f.feed.open({.peer = second}, 1s);
    REQUIRE(link.has_value());
    CHECK(link->id() == LinkId{1});
    CHECK(link->is_up());
    REQUIRE(link->send("to the second"));
    REQUIRE(link->flush(1s));
    CHECK(second.sent().size() == 1);
    CHECK(f.peer.sent().empty());
    second.deliver("from the second");
    const auto message = f.feed.receive(1s);
    CHECK(text(message) == "from the second");
    CHECK(message->link() == LinkId{1});
    second.drop();
    CHECK(f.feed.receive(1s).error() == Error::disconnected);
    CHECK(f.feed.receive(1s).error() == Error::timed_out);
    CHECK(f.feed.state() == State::connected);
    MockPeer third;
    third.refuse_connect(boost::asio::error::connection_refused);
    CHECK(f.feed.open({.peer = third}, 1s).error() == Error::connect_failed);
    CHECK(f.feed.stop().clean());
    CHECK(link->send("late").error() == Error::stopping);
}

TEST_CASE("call: gives the coroutine's result, and its exception")
{
    Fixture f;
    CHECK(f.feed.call([](Context) -> Task<int> { co_return 1; }).error() == Error::not_started);
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed
              .call([](Context ctx) -> Task<int> {
                  co_await ctx.sleep_for(60s);
                  co_return 42;
              })
              .value()
          == 42);
    CHECK_THROWS_AS((void)f.feed.call([](Context) -> Task<> {
        throw std::runtime_error{"no"};
        co_return;
    }),
                    std::runtime_error);
    CHECK(f.feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(60s); }, 10s).error()
          == Error::timed_out);
}

TEST_CASE("spawn: an exception is recorded and logged")
{
    std::atomic<int> lines{0};
    Fixture f{{.log = [&](LogLevel level, std::string_view) {
        lines += level == LogLevel::error;
        throw std::runtime_error{"the hook's own"};
    }}};
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.spawn("worker", [](Context) -> Task<> {
        throw std::runtime_error{"it broke"};
        co_return;
    }));
    REQUIRE(f.feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK(lines == 1);
    CHECK(f.feed.stats().callback_failures == 1);
    const auto report = f.feed.stop();
    CHECK(report.first_error->message()
          == "cannot run the task (worker): the application's code threw an exception: it broke");
}

TEST_CASE(
    "native_handle: readable exactly while something is there to be received, the end included")
{
    Fixture f;
    const int fd = f.feed.native_handle().value();
    CHECK_FALSE(is_readable(fd));
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::up);
    CHECK(f.feed.receive(0s).error() == Error::timed_out);
    CHECK_FALSE(is_readable(fd));
    f.peer.deliver("a");
    f.peer.deliver("b");
    REQUIRE(f.feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK(is_readable(fd));
    CHECK(text(f.feed.receive(0s)) == "a");
    CHECK(is_readable(fd));
    CHECK(text(f.feed.receive(0s)) == "b");
    CHECK(f.feed.receive(0s).error() == Error::timed_out);
    CHECK_FALSE(is_readable(fd));
    f.feed.stop();
    CHECK(is_readable(fd));
    CHECK(f.feed.native_handle().value() == fd);
}

TEST_CASE("every link that waits for room in the inbox reads on when there is some")
{
    std::vector<MockPeer> peers(8);
    Sidecar<Mock> feed{{.peer = peers[0], .max_message_bytes = 1024},
                       {.inbox = {.bytes = 8192, .messages = 4}}};
    REQUIRE(feed.start(1s));
    for (std::size_t i = 1; i < peers.size(); ++i)
        REQUIRE(feed.open({.peer = peers[i], .max_message_bytes = 1024}, 1s));
    for (auto& peer : peers)
        for (int i = 0; i < 10; ++i)
            peer.deliver("x");
    std::vector<int> counts(peers.size());
    for (std::size_t i = 0; i < 10 * peers.size(); ++i)
        ++counts[static_cast<std::size_t>(feed.receive(1s).value().link())];
    CHECK(counts == std::vector<int>(peers.size(), 10));
    CHECK(feed.stats().reading_pauses > 0);
}

TEST_CASE("dump: names every task and what it waits for")
{
    Fixture f;
    CHECK(f.feed.dump() == "state idle");
    REQUIRE(f.feed.start(1s));
    REQUIRE(f.feed.spawn("my task", [](Context ctx) -> Task<> {
        ctx.waiting_for("Godot");
        LoopEvent never;
        co_await never.wait();
    }));
    REQUIRE(f.feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    const auto text = f.feed.dump();
    for (const char* part :
         {"state connected", "link 0 (mock): open", "\"link 0 listener\": messages from the peer",
          "\"link 0 writer\": messages to send", "\"my task\": Godot"})
        CHECK_MESSAGE(text.find(part) != std::string::npos, part, " in ", text);
}
