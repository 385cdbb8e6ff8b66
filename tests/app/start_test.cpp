// Starting, starting again, and what keeps a sidecar from it.
#include "support/descriptors.hpp"
#include "support/fixture.hpp"
#include "support/footprint.hpp"
#include "support/minimal_transport.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <span>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace start_test {

using namespace sidecar;
using namespace std::chrono_literals;

struct Nameless : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    static std::string endpoint(const Options&) { throw std::runtime_error{"no name"}; }
};

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

TEST_CASE("request_stop: before the first start, it holds until stop() has reported it")
{
    Fixture f;
    f.feed.request_stop();
    f.feed.request_stop();
    for (int i = 0; i < 2; ++i) {
        const auto started = f.feed.start(1s);
        CHECK(started.error().message()
              == "cannot start (mock): the sidecar is stopping: call stop() before start()");
        CHECK(f.feed.start_in_background().error() == Error::stopping);
    }
    CHECK(f.feed.state() == State::idle);
    CHECK(f.feed.wait_stopped(1s).error() == Error::not_started);
    CHECK(f.feed.start(1s).error() == Error::stopping);
    CHECK(f.peer.connect_count() == 0);
    const auto report = f.feed.stop();
    CHECK(report.clean());
    CHECK(report.quiesce.verdict == Verdict::skipped);
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.stop().clean());
}

TEST_CASE("request_stop: between two runs it holds too, and wait_stopped() does not report it")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.stop().clean());
    f.feed.request_stop();
    CHECK(f.feed.wait_stopped(1s)); // the last run's report
    CHECK(f.feed.start(1s).error() == Error::stopping);
    CHECK(f.feed.state() == State::stopped);
    CHECK(f.feed.stop().clean());
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.stop().clean());
}

TEST_CASE("request_stop: during a run its own report covers it, and any after it")
{
    Fixture f;
    for (int run = 0; run < 2; ++run) {
        REQUIRE(f.feed.start(1s));
        f.feed.request_stop();
        CHECK(f.feed.start(1s).error() == Error::stopping); // not over yet
        CHECK(f.feed.wait_stopped(1s)->clean());
    }
    REQUIRE(f.feed.start(1s));
    f.feed.request_stop();
    CHECK(f.feed.wait_stopped(1s)->clean());
    f.feed.request_stop();
    CHECK(f.feed.stop().clean()); // of the run, and of the request after it
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.state() == State::connected);
    CHECK(f.feed.stop().clean());
}

TEST_CASE("request_stop: one that ended a start holds until stop()")
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
    f.peer.delay_connect({});
    CHECK(f.feed.start(1s).error() == Error::stopping);
    CHECK(f.feed.stop().joined);
    REQUIRE(f.feed.start(1s));
}

TEST_CASE("request_stop: without a start afterwards, the destructor has nothing to do")
{
    Fixture f;
    f.feed.request_stop();
}

TEST_CASE("request_stop: one is pending in the process that made it, not in a sidecar of its child")
{
    Fixture f;
    f.feed.request_stop();
    const auto child = ::fork();
    if (child == 0) {
        const bool is_forked = f.feed.start(1s).error() == Error::forked;
        f.feed.request_stop();
        (void)f.feed.stop();
        ::_exit(is_forked ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(f.feed.start(1s).error() == Error::stopping);
}

TEST_CASE("request_stop: whenever another thread makes it, the start or the run ends by it")
{
    Fixture f;
    for (int round = 0; round < 200; ++round) {
        std::thread stopper{[&, round] {
            for (int i = 0; i < round % 20; ++i)
                std::this_thread::yield();
            f.feed.request_stop();
        }};
        if (f.feed.start(10s)) {
            CHECK(f.feed.receive(Duration::max()).error() == Error::stopped);
            CHECK(f.feed.start(1s).error() == Error::stopping);
        }
        stopper.join();
        CHECK(f.feed.start(1s).error() == Error::stopping);
        CHECK(f.feed.stop().joined);
    }
    REQUIRE(f.feed.start(1s));
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
    CHECK(why({.outbox = {.bytes = 100}}).find("outbox") != std::string::npos);
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

TEST_CASE(
    "start: what the transport's own functions throw is the reason why not, and no thread is left")
{
    const auto before = Footprint::threads_at_work();
    Sidecar<Nameless> feed{{}, silent_options()};
    CHECK(feed.start(1s).error().message()
          == "cannot start: the application's code threw an exception: no name");
    CHECK(Footprint::threads_at_work() == before);
}

TEST_CASE(
    "start: after a failed one the sidecar is idle, as if never started, and its report is there")
{
    MockPeer peer;
    peer.refuse_connect(boost::asio::error::connection_refused);
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE_FALSE(feed.start(1s));
    CHECK(feed.state() == State::idle);
    CHECK(feed.receive(1s).error() == Error::not_started);
    CHECK(feed.send("x").error() == Error::not_started);
    CHECK(feed.stop().joined);
    CHECK(feed.stop().first_error == Error::connect_failed);
}

TEST_CASE("start: without descriptors it says so, and works again when there are some")
{
    Sidecar<Mock> feed{{}, silent_options()};
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit tight{.rlim_cur = 256, .rlim_max = limit.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &tight);
    std::vector<int> taken;
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0))
        taken.push_back(fd);
    const auto free_one = [&] {
        ::close(taken.back());
        taken.pop_back();
    };
    for (int spare = 0; spare < 3; ++spare) {
        const auto started = feed.start(1s);
        CHECK_FALSE(started);
        CHECK(started.error() == Error::no_resources);
        free_one();
    }
    while (!taken.empty())
        free_one();
    ::setrlimit(RLIMIT_NOFILE, &limit);
    CHECK(feed.start(1s));
}

TEST_CASE("restart: runs that are over are freed though other threads never stop calling")
{
    Sidecar<Mock> feed{{}, silent_options()};
    REQUIRE(feed.start(1s));
    std::atomic<bool> is_over{false};
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i)
        callers.emplace_back([&] {
            while (!is_over)
                (void)feed.stats();
        });
    const auto before = open_descriptors().size();
    std::size_t most = 0;
    for (int i = 0; i < 100; ++i) {
        CHECK(feed.stop().clean());
        REQUIRE(feed.start(1s));
        most = std::max(most, open_descriptors().size());
    }
    is_over = true;
    for (auto& caller : callers)
        caller.join();
    constexpr std::size_t descriptors_of_a_run = 4;
    CHECK(most <= before + 8 * descriptors_of_a_run);
    for (int i = 0; i < 3; ++i) {
        CHECK(feed.stop().clean());
        REQUIRE(feed.start(1s));
    }
    CHECK(open_descriptors().size() <= before + 2 * descriptors_of_a_run);
}

struct Throwing : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    static Result<void> check(const Options& options)
    {
        if (options.max_message_bytes == 1)
            throw std::runtime_error{"no such thing"};
        return {};
    }
    static Result<void> check_send(const Options&, MessageKind, std::span<const std::byte>)
    {
        throw std::runtime_error{"not that"};
    }
};

TEST_CASE("start: what a transport's own checks throw is a failure, of each call that asks them")
{
    Sidecar<Throwing> wrong{{.max_message_bytes = 1}, silent_options()};
    CHECK(wrong.start(1s).error() == Error::callback_failed);
    Sidecar<Throwing> feed{{}, silent_options()};
    REQUIRE(feed.start(1s));
    CHECK(feed.open({.max_message_bytes = 1}, 1s).error() == Error::callback_failed);
    CHECK(feed.send("x").error() == Error::callback_failed);
    auto link = feed.link().value();
    CHECK(link.send("x").error() == Error::callback_failed);
    CHECK(link.subscribe("key", "x").error() == Error::callback_failed);
    CHECK(feed.stop().joined);
}

TEST_CASE("start: options of the run that make no sense are refused, by name")
{
    const std::pair<Options, std::string> rows[] = {
        {{.stop = {.total = 0s}}, "stop: the total must be positive, no stage negative"},
        {{.busy_poll = -1s}, "busy_poll: the time must not be negative"},
        {{.outbox = {.bytes = 100}},
         "outbox: 100 bytes are too few; set outbox.bytes to at least 256, or to 0 for the "
         "default"},
        {{.inbox = {.bytes = 1000, .messages = 1}},
         "inbox: 1000 bytes are too few for messages of up to 1048576 (max_message_bytes); set "
         "Options::inbox.bytes to at least 4194304"},
    };
    for (const auto& [options, why] : rows) {
        Fixture f{options};
        CHECK(f.feed.start(1s).error().message()
              == "cannot start (mock): the options make no sense: " + why);
    }
}

TEST_CASE("start and open: an option of a link that makes no sense is named, and so is the call")
{
    const auto key = [](const MessageView&) { return std::nullopt; };
    const std::pair<Options, std::string> rows[] = {
        {{.outbox = {.bytes = 100}},
         "outbox: 100 bytes are too few; set outbox.bytes to at least 256, or to 0 for the "
         "default"},
        {{.reconnect = Reconnect{.window = 0s}}, "reconnect: the window must be positive"},
        {{.reconnect = Reconnect{.connect_timeout = 0s}},
         "reconnect: max_outage and connect_timeout must be positive"},
        {{.on_connected_timeout = 0s}, "on_connected_timeout and ack_timeout must be positive"},
        {{.ack_timeout = 0s}, "on_connected_timeout and ack_timeout must be positive"},
        {{.overflow = {.key = key}}, "overflow: a key is for conflating only"},
        {{.overflow = {.max_age = -1s}}, "overflow: max_age is negative"},
        {{.ping_interval = -1s}, "ping_interval must not be negative"},
        {{.rate_limit = RateLimit{.messages = 1, .per = 0s}},
         "rate limit: `per` must be positive, and a day at most"},
    };
    Fixture running;
    REQUIRE(running.feed.start(1s));
    const auto opened = [&](const Mock::Options& mock, const LinkOptions& options) {
        return running.feed.open(mock, 1s, options).error().message();
    };
    for (const auto& [options, why] : rows) {
        Fixture f{options};
        CHECK(f.feed.start(1s).error().message()
              == "cannot start (mock): the options make no sense: " + why);
        CHECK(opened({}, options.link_options())
              == "cannot open a link (mock): the options make no sense: " + why);
    }
    CHECK(opened({.max_message_bytes = 0}, {})
          == "cannot open a link (mock): the options make no sense: inbox: a message limit of 0 "
             "bytes "
             "lets nothing through");
    CHECK(running.feed.stop().clean());
}

struct Mute : MinimalTransport {
    using MinimalTransport::MinimalTransport;
    static Result<void> check_send(const Options&, MessageKind, std::span<const std::byte>)
    {
        return Failure{Error::bad_message, {.attempted = "send", .explanation = "never"}};
    }
};

TEST_CASE("start and open: a heartbeat that the transport cannot send is named, and so is the call")
{
    const Options options{.heartbeat = Heartbeat{.message = "x"}};
    const std::string why = ": the message cannot be sent on this transport: the "
                            "heartbeat cannot be sent: never";
    Sidecar<Mute> wrong{{}, silenced(options)};
    CHECK(wrong.start(1s).error().message() == "cannot start" + why);
    Sidecar<Mute> feed{{}, silenced({})};
    REQUIRE(feed.start(1s));
    CHECK(feed.open({}, 1s, options.link_options()).error().message()
          == "cannot open a link" + why);
    CHECK(feed.stop().joined);
}

TEST_CASE("open: a MockPeer that has a link already is refused, and keeps that link")
{
    Fixture f;
    REQUIRE(f.feed.start(1s));
    CHECK(f.feed.open<Mock>({.peer = f.peer}, 1s).error().message()
          == "cannot connect (mock): the options make no sense: this MockPeer has a link already; "
             "each link needs a separate one");
    f.peer.deliver("to the first");
    CHECK(f.feed.next_event(1s)->kind == Event::Kind::up);
    CHECK(f.feed.receive(1s)->text() == "to the first");
    CHECK(f.feed.send("x"));
    CHECK(f.feed.stop().clean());
}

TEST_CASE("open: a link that is not up in time, since the thread is held, is closed")
{
    std::latch entered{1}, release{1};
    Sidecar<MinimalTransport> feed{{}, silent_options()};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.spawn("holder", [&](Context) -> Task<> {
        entered.count_down();
        release.wait();
        co_return;
    }));
    entered.wait();
    CHECK(feed.open({}, 10ms).error() == Error::timed_out);
    release.count_down();
    const auto is_gone = [&] { return feed.dump().find("link 1 ") == std::string::npos; };
    for (const auto give_up = std::chrono::steady_clock::now() + 10s;
         !is_gone() && std::chrono::steady_clock::now() < give_up;)
        std::this_thread::sleep_for(1ms);
    CHECK(is_gone());
    CHECK(feed.state() == State::connected);
    CHECK(feed.stop().clean());
}

} // namespace start_test
