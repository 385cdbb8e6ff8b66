// Code of the application's own on the loop's thread: call(), spawn(), and further links.
#include "support/fixture.hpp"
#include "support/least_transport.hpp"
#include "support/quiet.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace tasks_test {

using namespace sidecar;
using namespace std::chrono_literals;

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
    CHECK(link->send("late").error() == Error::stopped);
}

TEST_CASE("call: gives the coroutine's result, and its exception")
{
    Fixture f;
    CHECK(f.feed.call("a call", [](Context) -> Task<int> { co_return 1; }).error()
          == Error::not_started);
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed
              .call("a call",
                    [](Context ctx) -> Task<int> {
                        co_await ctx.sleep_for(60s);
                        co_return 42;
                    })
              .value()
          == 42);
    CHECK_THROWS_AS((void)f.feed.call("a call",
                                      [](Context) -> Task<> {
                                          throw std::runtime_error{"no"};
                                          co_return;
                                      }),
                    std::runtime_error);
    CHECK(f.feed
              .call(
                  "a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(60s); }, 10s)
              .error()
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
    REQUIRE(f.feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK(lines == 1);
    CHECK(f.feed.stats().callback_failures == 1);
    const auto report = f.feed.stop();
    CHECK(report.first_error->message()
          == "cannot run the task (worker): the application's code threw an exception: it broke");
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
    REQUIRE(f.feed.call("a call", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    const auto text = f.feed.dump();
    for (const char* part :
         {"state connected", "link 0 (mock): open", "\"link 0 listener\": messages from the peer",
          "\"link 0 writer\": messages to send", "\"my task\": Godot"})
        CHECK_MESSAGE(text.find(part) != std::string::npos, part, " in ", text);
}

TEST_CASE("LoopEvent: a second coroutine that waits is told so; the first is not lost")
{
    Sidecar<Mock> feed{{}, quiet()};
    REQUIRE(feed.start(1s));
    auto event = std::make_shared<LoopEvent>();
    REQUIRE(feed.spawn(
        "first", [event](Context ctx) -> Task<> { co_await ctx.wait(*event, TimePoint::max()); }));
    const auto second = feed.call("a call", [event](Context ctx) -> Task<bool> {
        try {
            co_await ctx.wait(*event, TimePoint::max());
        } catch (const Exception& e) {
            co_return e.failure() == Error::misuse;
        }
        co_return false;
    });
    CHECK(second.value());
    const auto report = feed.stop();
    CHECK(report.clean());
    CHECK(report.cancelled.size() == 1);
}

TEST_CASE("a transport that never has to wait starves nobody, the stop least of all")
{
    Sidecar<Firehose> feed{{}, quiet()};
    REQUIRE(feed.start(1s));
    std::atomic<bool> is_over{false};
    std::thread consumer{[&] {
        while (!is_over)
            (void)feed.poll([](const MessageView&) {});
    }};
    CHECK(feed.call(
                  "a call",
                  [](Context ctx) -> Task<int> {
                      co_await ctx.sleep_for(1ms);
                      co_return 1;
                  },
                  10s)
              .value()
          == 1);
    const auto report = feed.stop();
    is_over = true;
    consumer.join();
    CHECK(report.clean());
    CHECK(report.discarded_messages + feed.stats().messages_received > 0);
}

} // namespace tasks_test
