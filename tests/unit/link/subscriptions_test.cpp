// Where subscriptions stand: no thread, no connection, but the outbox that they go into.
#include "link/subscriptions.hpp"

#include "queue/manual_clock.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace subscriptions_test {

using namespace sidecar;
using detail::Outbox;
using detail::SendGate;
using detail::SubscriptionMessage;

SubscriptionMessage plain(std::string text) { return {MessageKind::text, std::move(text), {}}; }
/// Answered by "ok <text>".
SubscriptionMessage answered(std::string text)
{
    return {MessageKind::text, text,
            [text](const MessageView& message) { return message.text() == "ok " + text; }};
}
MessageView view(std::string_view text)
{
    return {LinkId{}, MessageKind::text, std::as_bytes(std::span{text})};
}
/// Subscriptions and their outbox, with the calls as the tests make them.
struct Subscribed {
    Subscribed()
    {
        subscriptions.on_answer = [this] { ++answers; };
    }
    bool subscribe(std::string key, SubscriptionMessage message)
    {
        return subscriptions.add(std::move(key), std::move(message));
    }
    bool unsubscribe(std::string_view key, SubscriptionMessage message)
    {
        return subscriptions.remove(key, std::move(message));
    }
    bool begin_connection()
    {
        outbox.open(++connection);
        outbox.set_gate(SendGate::open);
        return subscriptions.begin_connection();
    }
    void end_connection()
    {
        subscriptions.end_connection();
        outbox.end_connection(true);
    }
    /// True: it was an answer.
    bool offer(std::string_view text)
    {
        const auto before = answers;
        CHECK(subscriptions.offer(view(text)) == detail::MessageWatcher::Verdict::pass);
        return answers != before;
    }
    std::optional<Batch> begin_write()
    {
        auto batch = outbox.next_batch();
        if (batch)
            outbox.begin_write(*batch);
        return batch;
    }
    /// Writes all that may go.
    std::vector<std::string> write()
    {
        std::vector<std::string> texts;
        while (const auto batch = begin_write()) {
            for (const auto& message : *batch)
                texts.emplace_back(message.text());
            outbox.finish(*batch);
        }
        return texts;
    }

    ManualClock clock;
    detail::StopRequest stop;
    detail::WaitQueue written;
    Outbox outbox{LinkId{0}, {.bytes = 1u << 16}, stop, written, clock};
    detail::Subscriptions subscriptions{outbox};
    std::uint32_t connection = 0;
    int answers = 0;
};
using Texts = std::vector<std::string>;

TEST_CASE(
    "subscriptions: each connection begins with all of them, in the order in which they were given")
{
    Subscribed rig;
    CHECK_FALSE(rig.subscribe("b", plain("sub b"))); // there is no connection
    CHECK_FALSE(rig.subscribe("a", plain("sub a")));
    CHECK(rig.subscriptions.state("a") == SubscriptionState::waiting);
    for (int i = 0; i < 2; ++i) {
        CHECK(rig.begin_connection());
        CHECK_FALSE(rig.subscriptions.is_restored());
        CHECK(rig.write() == Texts{"sub b", "sub a"});
        CHECK(rig.subscriptions.is_restored());
        CHECK(rig.subscriptions.counts().acknowledged == 2);
        CHECK(rig.write().empty());
        rig.end_connection();
        CHECK(rig.subscriptions.counts().waiting == 2);
    }
    CHECK_FALSE(rig.subscriptions.state("c"));
    CHECK_FALSE(Subscribed{}.begin_connection());
}

TEST_CASE(
    "subscriptions: a key that is there is not sent or counted again, unless its message changed")
{
    Subscribed rig;
    (void)rig.begin_connection();
    CHECK(rig.subscribe("a", plain("sub a")));
    CHECK_FALSE(rig.subscribe("a", plain("sub a")));
    CHECK(rig.write() == Texts{"sub a"});
    CHECK_FALSE(rig.subscribe("a", plain("sub a")));
    CHECK(rig.write().empty());
    CHECK(rig.subscriptions.counts().acknowledged == 1);
    CHECK(rig.subscribe("a", plain("sub a deeper")));
    CHECK(rig.subscribe("a", plain("sub a deepest")));
    CHECK(rig.write() == Texts{"sub a deepest"});
}

TEST_CASE("subscriptions: it is acknowledged by its answer, and each answer confirms one")
{
    Subscribed rig;
    const auto any_ok = [](const MessageView& message) { return message.text() == "ok"; };
    (void)rig.subscribe("a", {MessageKind::text, "sub a", any_ok});
    (void)rig.subscribe("b", {MessageKind::text, "sub b", any_ok});
    (void)rig.begin_connection();
    CHECK_FALSE(rig.offer("ok")); // nothing was sent yet
    const auto batch = rig.begin_write();
    REQUIRE(batch);
    CHECK(rig.offer("ok")); // faster than the end of the write is seen
    rig.outbox.finish(*batch);
    CHECK(rig.subscriptions.state("a") == SubscriptionState::acknowledged);
    CHECK(rig.subscriptions.state("b") == SubscriptionState::pending);
    CHECK(rig.subscriptions.unacknowledged() == Texts{"b"});
    CHECK_FALSE(rig.offer("something else"));
    CHECK(rig.offer("ok"));
    CHECK(rig.subscriptions.is_restored());
    CHECK_FALSE(rig.subscriptions.expects_answers());
    CHECK_FALSE(rig.offer("ok"));
}

TEST_CASE(
    "subscriptions: what is taken back is told to the peer if it was sent, and then forgotten")
{
    Subscribed rig;
    (void)rig.begin_connection();
    CHECK_FALSE(rig.unsubscribe("a", plain("unsub a")));
    (void)rig.subscribe("a", plain("sub a"));
    CHECK(rig.unsubscribe("a", plain("unsub a"))); // nothing was sent yet
    CHECK(rig.write().empty());
    CHECK_FALSE(rig.subscriptions.state("a"));

    (void)rig.subscribe("a", plain("sub a"));
    CHECK(rig.write() == Texts{"sub a"});
    CHECK(rig.unsubscribe("a", plain("unsub a")));
    CHECK(rig.subscriptions.state("a") == SubscriptionState::removal_pending);
    CHECK_FALSE(rig.unsubscribe("a", plain("unsub a")));
    CHECK(rig.write() == Texts{"unsub a"});
    CHECK_FALSE(rig.subscriptions.state("a"));

    (void)rig.subscribe("a", plain("sub a"));
    (void)rig.write();
    CHECK(rig.unsubscribe("a", {})); // there is nothing to tell
    CHECK_FALSE(rig.subscriptions.state("a"));
    CHECK(rig.write().empty());
}

TEST_CASE("subscriptions: answers that come late are ignored")
{
    Subscribed rig;
    (void)rig.begin_connection();
    (void)rig.subscribe("a", answered("sub a"));
    (void)rig.write();
    (void)rig.unsubscribe("a", answered("unsub a"));
    CHECK_FALSE(rig.offer("ok sub a"));
    CHECK(rig.subscriptions.state("a") == SubscriptionState::removal_pending);
    (void)rig.write();
    CHECK(rig.subscriptions.state("a") == SubscriptionState::removal_pending);
    CHECK(rig.offer("ok unsub a"));
    CHECK_FALSE(rig.subscriptions.state("a"));
    // and on the next connection
    (void)rig.subscribe("b", answered("sub b"));
    (void)rig.write();
    rig.end_connection();
    CHECK_FALSE(rig.offer("ok sub b"));
    CHECK(rig.subscriptions.state("b") == SubscriptionState::waiting);
}

TEST_CASE("subscriptions: given again while it is being taken back")
{
    Subscribed rig;
    (void)rig.begin_connection();
    (void)rig.subscribe("a", answered("sub a"));
    (void)rig.write();
    CHECK(rig.offer("ok sub a"));
    (void)rig.unsubscribe("a", plain("unsub a"));
    CHECK_FALSE(rig.subscribe("a", answered("sub a"))); // before the peer was told
    CHECK(rig.subscriptions.state("a") == SubscriptionState::acknowledged);
    CHECK(rig.write().empty());

    (void)rig.unsubscribe("a", answered("unsub a"));
    CHECK(rig.write() == Texts{"unsub a"});
    CHECK(rig.subscribe("a", answered("sub a"))); // and after
    CHECK(rig.subscriptions.state("a") == SubscriptionState::waiting);
    CHECK(rig.write() == Texts{"sub a"});
    CHECK(rig.offer("ok sub a"));
    CHECK(rig.subscriptions.state("a") == SubscriptionState::acknowledged);
}

TEST_CASE("subscriptions: a message that changed, was taken back and is given again is sent")
{
    Subscribed rig;
    (void)rig.begin_connection();
    (void)rig.subscribe("a", plain("one"));
    (void)rig.write();
    (void)rig.subscribe("a", plain("two")); // waits
    (void)rig.unsubscribe("a", plain("unsub"));
    CHECK(rig.subscribe("a", plain("two")));
    CHECK(rig.write() == Texts{"two"});
    CHECK(rig.subscriptions.state("a") == SubscriptionState::acknowledged);
}

TEST_CASE("subscriptions: what is taken back does not come again, and is not waited for")
{
    Subscribed rig;
    (void)rig.subscribe("a", answered("sub a"));
    (void)rig.subscribe("b", answered("sub b"));
    (void)rig.begin_connection();
    (void)rig.write();
    (void)rig.unsubscribe("a", answered("unsub a"));
    CHECK(rig.subscriptions.unacknowledged() == Texts{"b"});
    rig.end_connection();
    CHECK_FALSE(rig.subscriptions.state("a"));
    (void)rig.begin_connection();
    CHECK(rig.write() == Texts{"sub b"});
    rig.subscriptions.stop_waiting();
    CHECK(rig.subscriptions.is_restored());
    CHECK(rig.subscriptions.state("b") == SubscriptionState::pending);
    CHECK(rig.offer("ok sub b")); // which is not too late
}

TEST_CASE("subscriptions: it keeps its place among what is queued")
{
    Subscribed rig;
    (void)rig.begin_connection();
    const auto send = [&](std::string_view text) {
        REQUIRE(rig.outbox.push(MessageKind::text, std::as_bytes(std::span{text}))
                == Outbox::Push::queued);
    };
    send("one");
    CHECK(rig.subscribe("a", plain("sub a")));
    send("two");
    CHECK(rig.subscribe("b", plain("sub b")));
    CHECK(rig.unsubscribe("a", plain("unsub a"))); // it was not sent yet
    CHECK(rig.subscribe("a", plain("sub a")));
    send("three");
    CHECK(rig.write() == Texts{"one", "two", "sub b", "sub a", "three"});
}

TEST_CASE("subscriptions: what is taken back while it is being written is told to the peer")
{
    Subscribed rig;
    (void)rig.begin_connection();
    CHECK(rig.subscribe("a", plain("sub a")));
    const auto batch = rig.outbox.next_batch();
    REQUIRE(batch);
    CHECK(rig.unsubscribe("a", plain("unsub a")));
    rig.outbox.begin_write(*batch);
    rig.outbox.finish(*batch);
    CHECK(rig.subscriptions.state("a") == SubscriptionState::removal_pending);
    CHECK(rig.write() == Texts{"unsub a"});
    CHECK_FALSE(rig.subscriptions.state("a"));
}

TEST_CASE(
    "subscriptions: one that changes before it is answered does not wait for what it holds up")
{
    Subscribed rig;
    (void)rig.subscribe("a", answered("sub a"));
    rig.outbox.open(1);
    REQUIRE(rig.outbox.push(MessageKind::text, {}) == Outbox::Push::queued);
    (void)rig.begin_connection();
    rig.outbox.set_gate(SendGate::restoring);
    CHECK(rig.write() == Texts{"sub a"});
    CHECK(rig.subscribe("a", answered("sub a deeper")));
    CHECK(rig.write() == Texts{"sub a deeper"});
    CHECK(rig.offer("ok sub a deeper"));
    CHECK(rig.subscriptions.is_restored());
}

TEST_CASE("subscriptions: a predicate that throws says no")
{
    Subscribed rig;
    (void)rig.begin_connection();
    (void)rig.subscribe("a", {MessageKind::text, "sub a",
                              [](const MessageView&) -> bool { throw std::runtime_error{"no"}; }});
    (void)rig.write();
    CHECK_FALSE(rig.offer("ok"));
    CHECK(rig.subscriptions.state("a") == SubscriptionState::pending);
}

} // namespace subscriptions_test
