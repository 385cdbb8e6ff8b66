#include "queue/inbox.hpp"

#include "manual_clock.hpp"
#include "real_clock.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <new>
#include <poll.h>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

namespace inbox_test {

using namespace sidecar;
using namespace std::chrono_literals;
using detail::Inbox;
using detail::MessageHandler;
using detail::NotifyFd;

struct Fixture {
    explicit Fixture(QueueLimits limits = {.bytes = 1u << 20, .messages = 1000})
        : inbox{limits, {}, clock}
    {
        inbox.on_space = [this] { asked_back.fetch_add(1); };
    }
    bool push(std::string_view text)
    {
        const bool is_pushed =
            inbox.push(LinkId{3}, MessageKind::text, std::as_bytes(std::span{text}));
        inbox.publish();
        return is_pushed;
    }
    std::string receive()
    {
        const auto message = inbox.receive({});
        return message ? std::string{message->text()} : std::string{};
    }
    std::size_t poll(std::size_t limit = SIZE_MAX)
    {
        auto ignore = [](const MessageView&) {};
        return inbox.poll(MessageHandler{ignore}, limit).value();
    }

    RealClock clock;
    Inbox inbox;
    std::atomic<int> asked_back{0};
};

TEST_CASE("Inbox: messages and events come in one order, whoever asks")
{
    Fixture f;
    f.inbox.push_event({.kind = Event::Kind::up, .link = LinkId{3}});
    REQUIRE(f.push("one"));
    REQUIRE(f.push("two"));
    f.inbox.push_event(
        {.kind = Event::Kind::down, .link = LinkId{3}, .failure = Failure{Error::disconnected}});
    REQUIRE(f.push("three"));
    f.inbox.end();

    SUBCASE("next_event")
    {
        CHECK(f.inbox.next_event(1s)->kind == Event::Kind::up);
        const auto first = f.inbox.next_event(1s);
        REQUIRE(first->kind == Event::Kind::message);
        CHECK(first->link == LinkId{3});
        CHECK(first->message.text() == "one");
        CHECK(f.inbox.next_event(1s)->message.text() == "two");
        const auto down = f.inbox.next_event(1s);
        CHECK(down->kind == Event::Kind::down);
        CHECK(down->failure == Error::disconnected);
        CHECK(f.inbox.next_event(1s)->message.text() == "three");
        CHECK(f.inbox.next_event(1s)->kind == Event::Kind::stopped);
        CHECK(f.inbox.next_event(1s).error() == Error::stopped);
    }
    SUBCASE("receive")
    {
        CHECK(f.receive() == "one");
        CHECK(f.receive() == "two");
        CHECK(f.inbox.receive(1s).error() == Error::disconnected);
        CHECK(f.receive() == "three");
        CHECK(f.inbox.receive(1s).error() == Error::stopped);
    }
    SUBCASE("poll")
    {
        auto ignore = [](const MessageView&) {};
        const MessageHandler handler{ignore};
        CHECK(f.inbox.poll(handler, 100).value() == 2);
        CHECK(f.inbox.poll(handler, 100).error() == Error::disconnected);
        CHECK(f.inbox.poll(handler, 100).value() == 1);
        CHECK(f.inbox.poll(handler, 100).error() == Error::stopped);
    }
}

TEST_CASE("Inbox: receive() gives messages of each sort whole, and counts each as taken at once")
{
    Fixture f;
    const auto buffer = f.inbox.receive_buffer(1000);
    REQUIRE(buffer.size() >= 1000);
    std::fill_n(buffer.begin(), 1000, std::byte{'s'});
    REQUIRE(f.push(""));
    REQUIRE(f.push(std::string(96, 'i')));
    REQUIRE(f.inbox.push(LinkId{1}, MessageKind::binary, buffer.first(1000)));
    REQUIRE(f.push(std::string(1000, 'c')));
    REQUIRE(f.push(std::string(100'000, 'l')));
    const auto& ring = f.inbox.ring();
    std::uint64_t bytes = 0;
    int count = 0;
    for (const auto& expected : {std::string{}, std::string(96, 'i'), std::string(1000, 's'),
                                 std::string(1000, 'c'), std::string(100'000, 'l')}) {
        const auto message = f.inbox.receive(1s);
        REQUIRE(message);
        CHECK(message->text() == expected);
        CHECK(ring.counts().popped == static_cast<std::uint64_t>(++count));
        CHECK(ring.counts().popped_bytes == (bytes += expected.size()));
        CHECK(ring.counts().pushed == 5);
    }
    CHECK(ring.counts().peak_messages == 5);
    CHECK(ring.empty());
}

TEST_CASE("Inbox: a timeout, a terminal failure and the end are told when nothing is left")
{
    Fixture f;
    CHECK(f.inbox.receive({}).error() == Error::timed_out);
    CHECK(f.inbox.receive(1ms).error() == Error::timed_out);
    REQUIRE(f.push("last"));
    f.inbox.set_terminal_failure(Failure{Error::connect_failed});
    CHECK(f.receive() == "last");
    CHECK(f.inbox.receive(10s).error() == Error::connect_failed);
    f.inbox.set_terminal_failure(std::nullopt);
    CHECK(f.inbox.receive({}).error() == Error::timed_out);
    f.inbox.end();
    CHECK(f.inbox.receive(10s).error() == Error::stopped);
}

TEST_CASE("Inbox: who asks from within a poll() handler is refused, not deadlocked")
{
    Fixture f;
    REQUIRE(f.push("one"));
    REQUIRE(f.push("two"));
    int refused = 0;
    auto handler = [&](const MessageView&) {
        auto inner = [](const MessageView&) {};
        refused += f.inbox.receive(10s).error() == Error::misuse;
        refused += f.inbox.next_event(10s).error() == Error::misuse;
        refused += f.inbox.poll(MessageHandler{inner}, 1).error() == Error::misuse;
    };
    CHECK(f.inbox.poll(MessageHandler{handler}, 100).value() == 2);
    CHECK(refused == 6);
    CHECK(f.inbox.receive({}).error() == Error::timed_out);
}

TEST_CASE("Inbox: a handler that throws has taken its message, and no more")
{
    Fixture f;
    REQUIRE(f.push("one"));
    REQUIRE(f.push("two"));
    auto handler = [&](const MessageView&) { throw 1; };
    CHECK_THROWS_AS((void)f.inbox.poll(MessageHandler{handler}, 100), int);
    CHECK(f.inbox.ring().counts().popped == 1);
    CHECK(f.receive() == "two");
}

TEST_CASE("Inbox: a thread waits while another consumes, and is let in or told of the end")
{
    for (const bool is_ended : {false, true}) {
        CAPTURE(is_ended);
        Fixture f;
        REQUIRE(f.push("one"));
        REQUIRE(f.push("two"));
        std::latch entered{1}, leave{1};
        std::thread first{[&] {
            auto handler = [&](const MessageView&) {
                entered.count_down();
                leave.wait();
            };
            (void)f.inbox.poll(MessageHandler{handler}, 1);
        }};
        entered.wait();
        CHECK(f.poll() == 0);
        CHECK(f.inbox.receive(1ms).error() == Error::timed_out);
        std::string got;
        std::latch done{1};
        std::thread second{[&] {
            const auto message = f.inbox.receive(30s);
            got = message                             ? std::string{message->text()}
                  : message.error() == Error::stopped ? "stopped"
                                                      : "timed out";
            done.count_down();
        }};
        if (is_ended) {
            f.inbox.end_from_signal();
            done.wait();
            leave.count_down();
        } else {
            leave.count_down();
        }
        first.join();
        second.join();
        CHECK(got == (is_ended ? "stopped" : "two"));
    }
}

TEST_CASE("Inbox: who waits for space is asked back once, when about half is free")
{
    Fixture f{{.bytes = 1u << 16, .messages = 10}};
    for (int i = 0; i < 10; ++i)
        REQUIRE(f.push("m"));
    CHECK_FALSE(f.push("m"));
    CHECK_FALSE(f.inbox.want_space(1));
    for (int taken = 1; taken <= 10; ++taken) {
        CHECK_FALSE(f.receive().empty());
        CHECK(f.asked_back == (taken >= 5 ? 1 : 0));
    }
    CHECK(f.inbox.want_space(1));
    CHECK(f.push("m"));
    CHECK(f.poll() == 1);
    CHECK(f.asked_back == 2);
    // After the end nobody waits.
    for (int i = 0; i < 10; ++i)
        REQUIRE(f.push("m"));
    f.inbox.end();
    CHECK(f.inbox.want_space(1));
}

bool is_readable(const NotifyFd& fd)
{
    ::pollfd entry{.fd = fd.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 1;
}

TEST_CASE("Inbox: a descriptor that the run before raises late is lowered by the next look")
{
    const auto fd = std::make_shared<NotifyFd>();
    Fixture before, f;
    before.inbox.notify_through(fd);
    f.inbox.notify_through(fd);
    before.inbox.end_from_signal();
    CHECK(is_readable(*fd));
    CHECK(f.poll() == 0);
    CHECK_FALSE(is_readable(*fd));
    REQUIRE(f.push("one"));
    CHECK(is_readable(*fd));
}

TEST_CASE("Inbox: the descriptor is readable while there is something to be told")
{
    Fixture f;
    REQUIRE(f.push("before"));
    const auto fd = std::make_shared<NotifyFd>();
    f.inbox.notify_through(fd);
    CHECK(is_readable(*fd));
    CHECK(f.receive() == "before");
    CHECK_FALSE(is_readable(*fd));
    f.inbox.push_event({.kind = Event::Kind::up, .link = LinkId{}});
    CHECK(is_readable(*fd));
    CHECK(f.poll() == 0);
    CHECK_FALSE(is_readable(*fd));
    f.inbox.set_terminal_failure(Failure{Error::connect_failed});
    CHECK(is_readable(*fd));
    f.inbox.set_terminal_failure(std::nullopt);
    CHECK(f.poll() == 0);
    CHECK_FALSE(is_readable(*fd));
    REQUIRE(f.push("one"));
    REQUIRE(f.push("two"));
    CHECK(f.poll(1) == 1);
    CHECK(is_readable(*fd));
    CHECK(f.poll(1) == 1);
    CHECK_FALSE(is_readable(*fd));
    f.inbox.end_from_signal();
    CHECK(is_readable(*fd));
    CHECK(f.inbox.receive({}).error() == Error::stopped);
    CHECK(is_readable(*fd));
}

/// A producer like the loop: pauses when the inbox is full, goes on when it is asked back.
void produce(Inbox& inbox, std::size_t count, std::size_t size, std::atomic<bool>& is_stuck)
{
    std::counting_semaphore<1 << 20> space{0};
    inbox.on_space = [&] { space.release(); };
    std::vector<std::byte> payload(size);
    for (std::size_t i = 0; i < count && !is_stuck; ++i) {
        std::memcpy(payload.data(), &i, sizeof i);
        while (!inbox.push(LinkId{}, MessageKind::binary, payload)) {
            inbox.publish();
            if (!inbox.want_space(size) && !space.try_acquire_for(30s)) {
                is_stuck = true;
                break;
            }
        }
        if (i % 7 == 0)
            inbox.publish();
    }
    inbox.publish();
    inbox.end();
}

TEST_CASE("Inbox: no wake-up is lost between a loop that pauses and receivers that sleep")
{
    for (const int way : {0, 1, 2}) {
        for (const std::size_t size : {8u, 100u, 5000u}) {
            CAPTURE(way);
            CAPTURE(size);
            RealClock clock;
            Inbox inbox{{.bytes = 16u << 10, .messages = 16}, {}, clock};
            std::atomic<bool> is_stuck{false};
            const std::size_t count = 20'000;
            std::thread producer{[&] { produce(inbox, count, size, is_stuck); }};
            std::atomic<std::uint64_t> taken{0}, sum{0};
            const auto add = [&](std::span<const std::byte> bytes) {
                std::size_t number = 0;
                std::memcpy(&number, bytes.data(), sizeof number);
                sum += number;
                ++taken;
            };
            const auto consume = [&] {
                auto handler = [&](const MessageView& message) { add(message.bytes()); };
                for (;;) {
                    if (way == 1)
                        (void)inbox.poll(MessageHandler{handler}, 100);
                    const auto message = inbox.receive(30s);
                    if (!message) {
                        is_stuck = is_stuck || message.error() != Error::stopped;
                        return;
                    }
                    add(message->bytes());
                }
            };
            std::vector<std::thread> consumers;
            for (int i = 0; i < (way == 2 ? 3 : 1); ++i)
                consumers.emplace_back(consume);
            for (auto& consumer : consumers)
                consumer.join();
            producer.join();
            CHECK_FALSE(is_stuck);
            CHECK(taken == count);
            CHECK(sum == count * (count - 1) / 2);
            CHECK(inbox.ring().counts().popped == count);
        }
    }
}

TEST_CASE("Inbox: once a receiver has found nothing for a while, a burst's memory has gone")
{
    for (const bool is_polled : {false, true}) {
        CAPTURE(is_polled);
        Fixture f{{.bytes = 8u << 20}};
        for (int i = 0; i < 40; ++i)
            REQUIRE(f.push(std::string(100'000, 'x')));
        while (f.poll() != 0) {
        }
        CHECK(f.inbox.ring().has_spare_blocks());
        CHECK(f.inbox.receive(10ms).error() == Error::timed_out);
        CHECK(f.inbox.ring().has_spare_blocks()); // perhaps more comes
        if (is_polled) {
            const auto deadline = std::chrono::steady_clock::now() + 10s;
            while (f.inbox.ring().has_spare_blocks()
                   && std::chrono::steady_clock::now() < deadline) {
                CHECK(f.poll() == 0);
                std::this_thread::yield();
            }
        } else {
            CHECK(f.inbox.receive(700ms).error() == Error::timed_out);
        }
        CHECK_FALSE(f.inbox.ring().has_spare_blocks());
    }
}

TEST_CASE("Inbox: times do not go back, though those of messages are of the turn they came in")
{
    struct Clock final : ManualClock {
        [[nodiscard]] TimePoint iteration_began() const noexcept override { return began; }
        TimePoint began{1s};
    } clock;
    for (const bool has_queue : {false, true}) {
        CAPTURE(has_queue);
        Inbox inbox{{.bytes = 1u << 20}, {}, clock};
        inbox.on_space = [] {};
        auto& queue = inbox.open_queue(LinkId{1}, detail::resolved({.max_age = 1h}, 1000));
        const auto push = [&](bool is_beside) {
            if (is_beside)
                REQUIRE(inbox.push_to(queue, MessageKind::text, {})
                        == detail::LinkQueue::PutOutcome::taken);
            else
                REQUIRE(inbox.push(LinkId{0}, MessageKind::text, {}));
            inbox.publish();
        };
        clock.began = clock.time = TimePoint{1s};
        push(has_queue);
        for (int i = 0; i < 20; ++i) { // within one stamp
            clock.time += 3us;
            inbox.push_event({.kind = Event::Kind::up, .link = LinkId{0}});
            clock.time += 3us;
            push(has_queue);
            clock.began += 5us; // a turn that began before all this
            push(!has_queue);
            push(false);
        }
        TimePoint last{};
        for (auto event = inbox.next_event({}); event; event = inbox.next_event({})) {
            CHECK(event->at >= last);
            if (event->kind == Event::Kind::message)
                CHECK(event->at == event->message.arrival());
            last = event->at;
        }
        CHECK(last >= TimePoint{1s + 60us});
        inbox.close_queue(queue);
    }
}

TEST_CASE("Inbox: memory that is lent to peers leaves space for any message of a quarter of it")
{
    Fixture f; // of 1 MiB, so that a link may have messages of up to 256 KiB
    std::vector<detail::Block> lent;
    while (auto block = f.inbox.reserve(100'000)) // of smaller links, whose peers stall
        lent.push_back(std::move(block));
    CHECK(lent.size() == 2);
    CHECK(f.inbox.largest_message() == 256u << 10);
    CHECK(f.inbox.has_space(256u << 10));
    CHECK(f.push(std::string(256u << 10, 'x')));
    CHECK_FALSE(f.inbox.want_space(256u << 10));
    CHECK(f.receive().size() == 256u << 10);
    CHECK(f.inbox.want_space(256u << 10));
    for (std::size_t i = 0; i < lent.size(); ++i)
        f.inbox.cancel_reserved(100'000);
}

TEST_CASE("Inbox: messages carry their link, connection and the begin of the turn they came in")
{
    struct Clock final : ManualClock {
        [[nodiscard]] TimePoint iteration_began() const noexcept override { return began; }
        TimePoint began{1s};
    } clock;
    Inbox inbox{{.bytes = 1u << 20}, {}, clock};
    inbox.on_space = [] {};
    const LinkId large_number{0xffff'fffe};
    const auto push = [&](LinkId link, std::uint32_t connection, std::size_t size) {
        const std::vector<std::byte> payload(size);
        REQUIRE(inbox.push(link, MessageKind::binary, payload, connection));
        inbox.publish();
    };
    push(LinkId{3}, 1, 10);
    push(LinkId{3}, 1, 100'000);
    push(large_number, 70'000, 10);
    clock.began = TimePoint{2s};
    push(large_number, 70'000, 10);
    push(LinkId{3}, 2, 100'000);
    struct Row {
        LinkId link;
        std::uint32_t connection;
        TimePoint arrival;
    };
    clock.time = TimePoint{10s};
    for (const auto& row :
         {Row{LinkId{3}, 1, TimePoint{1s}}, Row{LinkId{3}, 1, TimePoint{1s}},
          Row{large_number, 70'000, TimePoint{1s}}, Row{large_number, 70'000, TimePoint{2s}},
          Row{LinkId{3}, 2, TimePoint{2s}}}) {
        CHECK(inbox.oldest_age() == clock.time - row.arrival);
        const auto message = inbox.receive({});
        REQUIRE(message);
        CHECK(message->link() == row.link);
        CHECK(message->connection() == row.connection);
        CHECK(message->arrival() == row.arrival);
    }
    CHECK(inbox.oldest_age() == Duration{});
}

TEST_CASE("Inbox: where on_space has no memory it is called again at the next look for messages")
{
    Fixture f{{.bytes = 1u << 16, .messages = 2}};
    int calls = 0;
    f.inbox.on_space = [&] {
        if (++calls == 1)
            throw std::bad_alloc{};
    };
    REQUIRE(f.push("1"));
    REQUIRE(f.push("2"));
    CHECK_FALSE(f.inbox.want_space(1));
    CHECK(f.receive() == "1");
    CHECK(calls == 1);
    CHECK(f.receive() == "2");
    CHECK(calls == 2);
    CHECK(f.receive().empty());
    CHECK(calls == 2);
}

TEST_CASE("Inbox: how long the oldest message waits is known while a handler runs")
{
    ManualClock clock;
    Inbox inbox{{.bytes = 1u << 16}, {}, clock};
    const auto push = [&] {
        REQUIRE(inbox.push(LinkId{}, MessageKind::binary, {}));
        inbox.publish();
    };
    clock.time = TimePoint{1s};
    push();
    clock.time = TimePoint{2s};
    push();
    clock.time = TimePoint{5s};
    std::vector<Duration> ages;
    auto handler = [&](const MessageView&) { ages.push_back(inbox.oldest_age()); };
    CHECK(inbox.poll(MessageHandler{handler}, 1).value() == 1);
    CHECK(inbox.oldest_age() == 3s);
    CHECK(inbox.poll(MessageHandler{handler}, 1).value() == 1);
    CHECK(ages == std::vector<Duration>{4s, 3s});
    CHECK(inbox.oldest_age() == 0s);
}

TEST_CASE("Inbox: of two receivers neither hears `stopped` while messages wait")
{
    for (int round = 0; round < 200; ++round) {
        Fixture f;
        constexpr int count = 50;
        for (int i = 0; i < count; ++i)
            REQUIRE(f.push("m"));
        f.inbox.end();
        std::atomic<int> taken{0}, early{0};
        const auto receive = [&] {
            while (f.inbox.receive(30s).has_value())
                ++taken;
            early += f.inbox.counts().queued != 0;
        };
        std::thread other{receive};
        receive();
        other.join();
        CHECK(taken == count);
        CHECK(early == 0);
    }
}

} // namespace inbox_test
