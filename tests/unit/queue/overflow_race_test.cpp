// A producer with each policy against a consumer and those who ask, each on a thread of its own.
#include "queue/inbox.hpp"
#include "queue/overflow.hpp"

#include "real_clock.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <string>
#include <thread>

namespace overflow_race_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace detail;
using Policy = OverflowPolicy;

std::optional<std::string_view> last_digit(const MessageView& message)
{
    return message.text().substr(message.text().size() - 1);
}

/// Takes in turn by receive(), next_event() and poll(), and counts.
struct Consumer {
    Inbox& inbox;
    std::uint64_t taken = 0, missing = 0, replaced = 0, gaps = 0, levels = 0;

    /// False: stopped.
    bool take(unsigned turn)
    {
        switch (turn % 3) {
        case 0: return note(inbox.receive(1ms));
        case 1: {
            auto count = [this](const MessageView& message) {
                ++taken;
                replaced += message.replaced();
            };
            return note(inbox.poll(MessageHandler{count}, 10));
        }
        default: return record_event(inbox.next_event(1ms));
        }
    }
    template <class Result>
    bool note(const Result& result)
    {
        if constexpr (std::is_same_v<Result, sidecar::Result<Message>>) {
            taken += result.has_value();
            replaced += result ? result->replaced() : 0;
        }
        if (result)
            return true;
        if (result.error() == Error::gap) {
            ++gaps;
            const auto text = result.error().message();
            constexpr std::string_view before = "missing here: ";
            const auto at = text.find(before);
            REQUIRE(at != std::string::npos);
            std::uint64_t count = 0;
            std::from_chars(text.data() + at + before.size(), text.data() + text.size(), count);
            missing += count;
        }
        return !(result.error() == Error::stopped);
    }
    bool record_event(const Result<Event>& event)
    {
        if (!event)
            return true;
        if (event->kind == Event::Kind::message) {
            ++taken;
            replaced += event->message.replaced();
        }
        if (event->kind == Event::Kind::gap) {
            ++gaps;
            missing += event->missing;
        }
        levels += event->kind == Event::Kind::high_water || event->kind == Event::Kind::low_water;
        return event->kind != Event::Kind::stopped;
    }
};

void run(Overflow overflow, bool is_slow)
{
    RealClock clock;
    Inbox inbox{{.bytes = 1u << 20, .messages = 1000}, {}, clock};
    std::atomic<bool> has_space{false};
    inbox.on_space = [&] {
        has_space.store(true);
        has_space.notify_one();
    };
    auto& queue = inbox.open_queue(LinkId{1}, resolved(std::move(overflow), 100));
    constexpr unsigned count = 30'000;
    std::atomic<bool> is_over{false};
    std::uint64_t put_beside = 0;

    std::thread asker{[&] {
        while (!is_over.load()) {
            const auto counts = inbox.counts();
            std::uint64_t lost = 0;
            for (const auto n : counts.lost)
                lost += n;
            REQUIRE(counts.received == counts.taken + counts.queued + lost);
            (void)inbox.oldest_age();
        }
    }};
    std::thread producer{[&] {
        for (unsigned i = 0; i < count; ++i) {
            const auto text = std::to_string(i);
            const auto bytes = std::as_bytes(std::span{text});
            if (i % 10 == 0) {
                while (!inbox.push(LinkId{0}, MessageKind::text, bytes)) {
                    inbox.publish();
                    std::this_thread::yield();
                }
                continue;
            }
            for (;;) {
                has_space.store(false);
                const auto put = inbox.push_to(queue, MessageKind::text, bytes);
                if (put == LinkQueue::PutOutcome::taken)
                    break;
                inbox.publish();
                if (put == LinkQueue::PutOutcome::failed)
                    std::this_thread::yield();
                else
                    has_space.wait(false);
            }
            ++put_beside;
            if (i % 50 == 0)
                inbox.publish();
            if (i % 1000 == 999)
                inbox.push_event({.kind = Event::Kind::up, .link = LinkId{1}});
        }
        inbox.publish();
        inbox.close_queue(queue);
        inbox.end();
    }};
    Consumer consumer{inbox};
    for (unsigned turn = 0; consumer.take(turn); ++turn)
        if (is_slow && turn % 16 == 0)
            std::this_thread::yield();
    producer.join();
    is_over.store(true);
    asker.join();

    const auto counts = inbox.counts();
    const auto conflated = counts.lost_for(GapReason::conflated);
    std::uint64_t lost = 0;
    for (const auto n : counts.lost)
        lost += n;
    CHECK(counts.received == count);
    CHECK(counts.queued == 0);
    CHECK(counts.taken == consumer.taken);
    CHECK(consumer.missing >= lost - conflated);
    CHECK(consumer.missing + consumer.replaced == lost);
    CHECK(put_beside == count - count / 10);
}

TEST_CASE("Inbox: with every policy what was put is taken or lost, and every loss is told, whoever "
          "looks on")
{
    for (const bool is_slow : {false, true}) {
        CAPTURE(is_slow);
        run({.queue_messages = 50}, is_slow);
        run({.policy = Policy::drop_oldest, .queue_messages = 50}, is_slow);
        run({.policy = Policy::drop_newest, .queue_messages = 50, .high = {.messages = 20}},
            is_slow);
        run({.policy = Policy::conflate, .key = last_digit}, is_slow);
        run({.policy = Policy::conflate, .key = last_digit, .queue_messages = 5}, is_slow);
        run({.policy = Policy::fail, .queue_messages = 50}, is_slow);
        run({.policy = Policy::drop_oldest, .queue_messages = 50, .max_age = 50us}, is_slow);
    }
}

} // namespace overflow_race_test
