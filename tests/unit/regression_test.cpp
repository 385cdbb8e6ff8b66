// A test for each bug that no other test would have found, named by what broke.
#include "queue/record_ring.hpp"
#include "support/sanitized.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <poll.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

using namespace sidecar;
using namespace std::chrono_literals;
using Feed = sidecar::Sidecar<Mock>;
using Clock = std::chrono::steady_clock;

namespace {

Options quiet(StopBudget stop = {})
{
    return {.stop = stop, .log = [](LogLevel, std::string_view) {}};
}

std::size_t open_descriptors()
{
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {}));
}

/// What a transport of the least kind needs beside what a test changes. On real time.
class Plain {
public:
    struct Options {
        std::size_t max_message_bytes = 1024;
    };
    explicit Plain(const Options&) {}
    Task<> connect(Context) { co_return; }
    Task<> read(Context ctx, Sink&)
    {
        co_await ctx.wait(gone_, TimePoint::max());
        throw std::runtime_error{"aborted"};
    }
    Task<> write(Context, Batch) { co_return; }
    Task<> close(Context, CloseReason) { co_return; }
    void abort() noexcept { gone_.set(); }

protected:
    LoopEvent gone_;
};

/// Always has a message, and never has to wait for one.
struct Firehose : Plain {
    using Plain::Plain;
    Task<> read(Context, Sink& sink)
    {
        (void)sink.put_text("x");
        co_return;
    }
};

/// No coroutine: it throws before there is one.
struct RudeCloser : Plain {
    using Plain::Plain;
    Task<> close(Context, CloseReason) { throw std::runtime_error{"no goodbye"}; }
};

struct Nameless : Plain {
    using Plain::Plain;
    static std::string endpoint(const Options&) { throw std::runtime_error{"no name"}; }
};

/// A coroutine that holds the loop's thread until it is released.
struct Holder {
    std::latch entered{1}, release{1};
    template <class T>
    void hold(Sidecar<T>& feed)
    {
        REQUIRE(feed.spawn("holder", [this](Context) -> Task<> {
            entered.count_down();
            release.wait();
            co_return;
        }));
        entered.wait();
    }
};

} // namespace

TEST_CASE(
    "RecordRing: where there is room for a message of some size, there is room for any smaller one")
{
    for (const std::size_t size : {1u, 100u, 1016u, 1024u, 3000u}) {
        detail::RecordRing ring{{.bytes = 1u << 16, .messages = 1u << 20}};
        const std::vector<std::byte> payload(size);
        while (ring.has_room(1u << 14))
            REQUIRE(ring.push(LinkId{}, MessageKind::bytes, payload));
    }
    // Also where the next record brings the news of a used-up buffer along.
    for (const std::size_t size : {100u, 1000u, 5000u}) {
        detail::RecordRing ring{{.bytes = 1u << 18, .messages = 1u << 20}};
        const std::vector<std::byte> payload(size);
        for (int i = 0; ring.has_room(1u << 14); ++i) {
            const auto room = ring.receive_room(size, 1u << 14);
            REQUIRE(ring.push(LinkId{}, MessageKind::bytes,
                              room.empty() || i % 3 == 0 ? std::span{payload} : room.first(size)));
        }
    }
}

TEST_CASE("a link behind a full inbox sleeps until there is room, whatever the messages' size")
{
    for (const std::size_t size : {100u, 1000u, 1024u, 5000u}) {
        MockPeer peer;
        Feed feed{{.peer = peer, .max_message_bytes = 1u << 16},
                  {.inbox = {.bytes = 1u << 18, .messages = 1u << 17},
                   .log = [](LogLevel, std::string_view) {}}};
        REQUIRE(feed.start(1s));
        const auto count = (1u << 19) / size;
        for (std::size_t i = 0; i < count; ++i)
            peer.deliver(std::string(size, 'x'));
        REQUIRE(feed.call([](Context ctx) -> Task<> { co_await ctx.sleep_for(1s); }, 10s));
        CHECK(feed.stats().reading_pauses == 1);
        std::size_t received = 0;
        while (received < count && feed.receive(1s))
            ++received;
        CHECK(feed.stats().messages_taken == count);
        CHECK(feed.stop().clean());
    }
}

TEST_CASE("stop: budgets beyond all time do not overflow")
{
    Feed feed{{},
              quiet({.total = Duration::max(),
                     .drain = Duration::max(),
                     .close = Duration::max(),
                     .cancel = Duration::max()})};
    REQUIRE(feed.start(1s));
    CHECK(feed.stop().clean());
}

TEST_CASE(
    "stop: a close that uses up all it gets leaves time for the cancelling and the thread's end")
{
    for (const auto total : {1000ms, 300ms, 40ms}) {
        MockPeer peer;
        Feed feed{{.peer = peer}, quiet({.total = total})};
        REQUIRE(feed.start(1s));
        peer.delay_close(Duration::max());
        const auto report = feed.stop();
        CHECK(report.joined);
        CHECK(report.stuck.empty());
        CHECK(report.cancel.verdict == Verdict::ok);
        CHECK(report.total < total);
        CHECK(report.total >= total / 2);
    }
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

TEST_CASE("stop: a close that is no coroutine and throws fails the close, and nothing else")
{
    Sidecar<RudeCloser> feed{{}, quiet()};
    REQUIRE(feed.start(1s));
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.close.verdict == Verdict::failed);
    CHECK(report.first_error->explanation().find("no goodbye") != std::string::npos);
}

TEST_CASE(
    "start: what the transport's own functions throw is the reason why not, and no thread is left")
{
    const auto threads = [] {
        return std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, {});
    };
    const auto before = threads();
    Sidecar<Nameless> feed{{}, quiet()};
    CHECK_THROWS_AS((void)feed.start(1s), std::runtime_error);
    CHECK(threads() == before);
}

TEST_CASE("LoopEvent: a second coroutine that waits is told so; the first is not lost")
{
    Feed feed{{}, quiet()};
    REQUIRE(feed.start(1s));
    auto event = std::make_shared<LoopEvent>();
    REQUIRE(feed.spawn(
        "first", [event](Context ctx) -> Task<> { co_await ctx.wait(*event, TimePoint::max()); }));
    const auto second = feed.call([event](Context ctx) -> Task<bool> {
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

TEST_CASE("request_stop: wakes every blocked call while somebody's code holds the loop's thread")
{
    Sidecar<Plain> feed{{}, quiet({.total = 300ms})};
    REQUIRE(feed.start(1s));
    Holder holder;
    holder.hold(feed);
    std::latch running{5};
    std::vector<std::thread> threads;
    const auto expect = [&](auto blocked) {
        threads.emplace_back([&, blocked] {
            running.count_down();
            blocked();
        });
    };
    REQUIRE(feed.send("never written"));
    expect([&] { CHECK(feed.receive(Duration::max()).error() == Error::stopped); });
    expect([&] { CHECK(feed.flush(Duration::max()).error() == Error::stopping); });
    expect(
        [&] { CHECK(feed.call([](Context) -> Task<> { co_return; }).error() == Error::stopping); });
    expect([&] { CHECK(feed.open({}, Duration::max()).error() == Error::stopping); });
    expect([&] {
        const auto report = feed.wait_stopped(Duration::max());
        CHECK_FALSE(report->joined);
        CHECK(report->stuck.size() >= 1);
    });
    running.wait();
    const int fd = feed.native_handle().value();
    const auto requested = Clock::now();
    feed.request_stop();
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    CHECK(::poll(&entry, 1, 10'000) == 1);
    for (auto& thread : threads)
        thread.join();
    CHECK(Clock::now() - requested < 300ms + promptly);
    const auto orphans = orphan_count();
    holder.release.count_down();
    for (const auto give_up = Clock::now() + 10s;
         orphan_count() == orphans && Clock::now() < give_up;)
        std::this_thread::yield();
    CHECK(orphan_count() == orphans - 1);
}

namespace {

std::latch linger_on{1}, lingered{1}; // static: the thread is left to itself
struct Lingering {
    ~Lingering()
    {
        linger_on.wait();
        lingered.count_down();
    }
};

} // namespace

TEST_CASE("stop: a thread_local whose destructor blocks does not make the join pass the total")
{
    Sidecar<Plain> feed{{}, quiet({.total = 200ms})};
    REQUIRE(feed.start(1s));
    REQUIRE(feed.call([](Context) -> Task<> {
        thread_local const Lingering lingering;
        (void)&lingering;
        co_return;
    }));
    const auto began = Clock::now();
    const auto report = feed.stop();
    CHECK(Clock::now() - began < 200ms + promptly);
    CHECK_FALSE(report.joined);
    CHECK(report.join.verdict == Verdict::timed_out);
    linger_on.count_down();
    lingered.wait();
}

TEST_CASE("native_handle: not readable any more once receive() has taken the last message")
{
    MockPeer peer;
    Feed feed{{.peer = peer}, quiet()};
    REQUIRE(feed.start(1s));
    const int fd = feed.native_handle().value();
    peer.deliver("only");
    REQUIRE(feed.receive(1s));
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    CHECK(::poll(&entry, 1, 0) == 0);
}

TEST_CASE(
    "start: after a failed one the sidecar is idle, as if never started, and its report is there")
{
    MockPeer peer;
    peer.refuse_connect(boost::asio::error::connection_refused);
    Feed feed{{.peer = peer}, quiet()};
    REQUIRE_FALSE(feed.start(1s));
    CHECK(feed.state() == State::idle);
    CHECK(feed.receive(1s).error() == Error::not_started);
    CHECK(feed.send("x").error() == Error::not_started);
    CHECK(feed.stop().joined);
    CHECK(feed.stop().first_error == Error::connect_failed);
}

TEST_CASE("restart: runs that are over are freed though other threads never stop calling")
{
    Feed feed{{}, quiet()};
    REQUIRE(feed.start(1s));
    std::atomic<bool> is_over{false};
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i)
        callers.emplace_back([&] {
            while (!is_over)
                (void)feed.stats();
        });
    const auto before = open_descriptors();
    std::size_t most = 0;
    for (int i = 0; i < 100; ++i) {
        CHECK(feed.stop().clean());
        REQUIRE(feed.start(1s));
        most = std::max(most, open_descriptors());
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
    CHECK(open_descriptors() <= before + 2 * descriptors_of_a_run);
}

TEST_CASE("start: without descriptors it says so, and works again when there are some")
{
    Feed feed{{}, quiet()};
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

TEST_CASE("receive: a stop wakes it while another thread is inside a poll() handler")
{
    MockPeer peer;
    Sidecar<Firehose> feed{{}, quiet()};
    REQUIRE(feed.start(1s));
    std::latch inside{1}, release{1};
    std::thread poller{[&] {
        while (feed.poll(
                       [&](const MessageView&) {
                           inside.count_down();
                           release.wait();
                       },
                       1)
                   .value()
               == 0) {
        }
    }};
    inside.wait();
    std::thread receiver{[&] { CHECK(feed.receive(Duration::max()).error() == Error::stopped); }};
    CHECK(feed.stop().joined);
    receiver.join();
    release.count_down();
    poller.join();
}
