// Code of the application's own on the loop's thread: call(), spawn(), and further links.
#include "support/fixture.hpp"
#include "support/minimal_transport.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

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
    REQUIRE(f.feed.call("a turn", [](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }));
    CHECK(f.feed.dump().find("link 0 writer") == std::string::npos); // the first message starts it
    REQUIRE(f.feed.send("a message"));
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
    Sidecar<Mock> feed{{}, silent_options()};
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
    Sidecar<Firehose> feed{{}, silent_options()};
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

TEST_CASE("resolve: a forked child begins with no look-up under way")
{
    if (is_thread_sanitized)
        return; // it does not follow a process with threads into its child
    std::latch entered{32}, release{1};
    auto options = silent_options();
    options.lookup = [&](const std::string&) {
        entered.count_down();
        release.wait();
        return std::vector{boost::asio::ip::make_address("192.0.2.1")};
    };
    const auto resolve = [](Context ctx) -> Task<> { (void)co_await ctx.resolve("a.test"); };
    Sidecar<MinimalTransport> feed{{}, options};
    REQUIRE(feed.start(10s));
    for (int i = 0; i < 32; ++i)
        REQUIRE(feed.spawn("look-up", resolve));
    entered.wait();
    const auto one_more = [&]() -> Error {
        auto present = silent_options();
        present.lookup = [](const std::string&) {
            return std::vector{boost::asio::ip::make_address("192.0.2.1")};
        };
        Sidecar<MinimalTransport> other{{}, present};
        try {
            other.start(10s).value();
            other.call("look-up", resolve, 10s).value();
            return Error{};
        } catch (const Exception& e) {
            return e.failure().error();
        }
    };
    CHECK(one_more() == Error::lookup_busy);
    const auto child = ::fork();
    if (child == 0)
        ::_exit(one_more() == Error{} ? 0 : 1);
    int status = -1;
    CHECK(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    release.count_down();
    CHECK(feed.stop().joined);
}

/// A look-up function whose copy throws while it is told to.
struct CopyThrows {
    explicit CopyThrows(std::shared_ptr<std::atomic<bool>> its_switch) : throws{its_switch} {}
    CopyThrows(CopyThrows&&) = default;
    CopyThrows(const CopyThrows& other) : throws{other.throws}
    {
        if (*throws)
            throw std::bad_alloc{};
    }
    CopyThrows& operator=(CopyThrows) = delete;
    ~CopyThrows() = default;
    std::vector<boost::asio::ip::address> operator()(const std::string& host) const
    {
        if (host == "no-memory.test")
            throw std::bad_alloc{};
        return {boost::asio::ip::make_address("192.0.2.1")};
    }
    std::shared_ptr<std::atomic<bool>> throws;
};

TEST_CASE("resolve: a look-up for which there is no memory gives its place back")
{
    const auto throws = std::make_shared<std::atomic<bool>>(false);
    auto options = silent_options();
    options.lookup = CopyThrows{throws};
    Sidecar<MinimalTransport> feed{{}, options};
    REQUIRE(feed.start(10s));
    const auto resolve = [&](const char* host) {
        return feed
            .call(
                "look-up",
                [host](Context ctx) -> Task<std::string> {
                    try {
                        (void)co_await ctx.resolve(host);
                    } catch (const std::exception& e) {
                        co_return e.what();
                    }
                    co_return "";
                },
                10s)
            .value();
    };
    for (const auto* host : {"a.test", "no-memory.test"}) {
        *throws = host == std::string_view{"a.test"};
        for (int i = 0; i < 40; ++i) // there are 32 places
            CHECK(resolve(host).find("bad_alloc") != std::string::npos);
    }
    *throws = false;
    CHECK(resolve("a.test").empty());
    CHECK(feed.stop().clean());
}

TEST_CASE("resolve: a name that ends for the system before it ends is refused, not cut")
{
    using namespace std::string_literals;
    auto options = silent_options();
    std::atomic<int> lookups{0};
    options.lookup = [&](const std::string&) {
        ++lookups;
        return std::vector{boost::asio::ip::make_address("192.0.2.1")};
    };
    Sidecar<MinimalTransport> feed{{}, options};
    REQUIRE(feed.start(10s));
    for (const auto& host : {"127.0.0.1\0.evil.test"s, "a.test\0.evil.test"s, "\0"s, ""s}) {
        const auto error = feed.call(
                                   "look-up",
                                   [host](Context ctx) -> Task<int> {
                                       try {
                                           (void)co_await ctx.resolve(host);
                                       } catch (const Exception& e) {
                                           co_return e.failure().code().value();
                                       }
                                       co_return 0;
                                   },
                                   10s)
                               .value();
        CHECK(error == static_cast<int>(Error::bad_address));
    }
    CHECK(lookups == 0);
    CHECK(feed.stop().clean());
}

} // namespace tasks_test
