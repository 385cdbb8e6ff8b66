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
    bool stick(std::string key, SubscriptionMessage message)
    {
        return subscriptions.add(std::move(key), std::move(message));
    }
    bool unstick(std::string_view key, SubscriptionMessage message)
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
    detail::WaitPoint written;
    Outbox outbox{LinkId{0}, {.bytes = 1u << 16}, stop, written, clock};
    detail::Subscriptions subscriptions{outbox};
    std::uint32_t connection = 0;
    int answers = 0;
};
using Texts = std::vector<std::string>;

TEST_CASE(
    "subscriptions: each connection begins with all of them, in the order in which they were given")
{
    Subscribed sticky;
    CHECK_FALSE(sticky.stick("b", plain("sub b"))); // there is no connection
    CHECK_FALSE(sticky.stick("a", plain("sub a")));
    CHECK(sticky.subscriptions.state("a") == StickyState::waiting);
    for (int i = 0; i < 2; ++i) {
        CHECK(sticky.begin_connection());
        CHECK_FALSE(sticky.subscriptions.is_restored());
        CHECK(sticky.write() == Texts{"sub b", "sub a"});
        CHECK(sticky.subscriptions.is_restored());
        CHECK(sticky.subscriptions.counts().confirmed == 2);
        CHECK(sticky.write().empty());
        sticky.end_connection();
        CHECK(sticky.subscriptions.counts().waiting == 2);
    }
    CHECK_FALSE(sticky.subscriptions.state("c"));
    CHECK_FALSE(Subscribed{}.begin_connection());
}

TEST_CASE(
    "subscriptions: a key that is there is not sent or counted again, unless its message changed")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    CHECK(sticky.stick("a", plain("sub a")));
    CHECK_FALSE(sticky.stick("a", plain("sub a")));
    CHECK(sticky.write() == Texts{"sub a"});
    CHECK_FALSE(sticky.stick("a", plain("sub a")));
    CHECK(sticky.write().empty());
    CHECK(sticky.subscriptions.counts().confirmed == 1);
    CHECK(sticky.stick("a", plain("sub a deeper")));
    CHECK(sticky.stick("a", plain("sub a deepest")));
    CHECK(sticky.write() == Texts{"sub a deepest"});
}

TEST_CASE("subscriptions: it is confirmed by its answer, and each answer confirms one")
{
    Subscribed sticky;
    const auto any_ok = [](const MessageView& message) { return message.text() == "ok"; };
    (void)sticky.stick("a", {MessageKind::text, "sub a", any_ok});
    (void)sticky.stick("b", {MessageKind::text, "sub b", any_ok});
    (void)sticky.begin_connection();
    CHECK_FALSE(sticky.offer("ok")); // nothing was sent yet
    const auto batch = sticky.begin_write();
    REQUIRE(batch);
    CHECK(sticky.offer("ok")); // faster than the end of the write is seen
    sticky.outbox.finish(*batch);
    CHECK(sticky.subscriptions.state("a") == StickyState::confirmed);
    CHECK(sticky.subscriptions.state("b") == StickyState::pending);
    CHECK(sticky.subscriptions.unconfirmed() == Texts{"b"});
    CHECK_FALSE(sticky.offer("something else"));
    CHECK(sticky.offer("ok"));
    CHECK(sticky.subscriptions.is_restored());
    CHECK_FALSE(sticky.subscriptions.expects_answers());
    CHECK_FALSE(sticky.offer("ok"));
}

TEST_CASE(
    "subscriptions: what is taken back is told to the peer if it was sent, and then forgotten")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    CHECK_FALSE(sticky.unstick("a", plain("unsub a")));
    (void)sticky.stick("a", plain("sub a"));
    CHECK(sticky.unstick("a", plain("unsub a"))); // nothing was sent yet
    CHECK(sticky.write().empty());
    CHECK_FALSE(sticky.subscriptions.state("a"));

    (void)sticky.stick("a", plain("sub a"));
    CHECK(sticky.write() == Texts{"sub a"});
    CHECK(sticky.unstick("a", plain("unsub a")));
    CHECK(sticky.subscriptions.state("a") == StickyState::removal_pending);
    CHECK_FALSE(sticky.unstick("a", plain("unsub a")));
    CHECK(sticky.write() == Texts{"unsub a"});
    CHECK_FALSE(sticky.subscriptions.state("a"));

    (void)sticky.stick("a", plain("sub a"));
    (void)sticky.write();
    CHECK(sticky.unstick("a", {})); // there is nothing to tell
    CHECK_FALSE(sticky.subscriptions.state("a"));
    CHECK(sticky.write().empty());
}

TEST_CASE("subscriptions: answers that come late are ignored")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a", answered("sub a"));
    (void)sticky.write();
    (void)sticky.unstick("a", answered("unsub a"));
    CHECK_FALSE(sticky.offer("ok sub a"));
    CHECK(sticky.subscriptions.state("a") == StickyState::removal_pending);
    (void)sticky.write();
    CHECK(sticky.subscriptions.state("a") == StickyState::removal_pending);
    CHECK(sticky.offer("ok unsub a"));
    CHECK_FALSE(sticky.subscriptions.state("a"));
    // and on the next connection
    (void)sticky.stick("b", answered("sub b"));
    (void)sticky.write();
    sticky.end_connection();
    CHECK_FALSE(sticky.offer("ok sub b"));
    CHECK(sticky.subscriptions.state("b") == StickyState::waiting);
}

TEST_CASE("subscriptions: given again while it is being taken back")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a", answered("sub a"));
    (void)sticky.write();
    CHECK(sticky.offer("ok sub a"));
    (void)sticky.unstick("a", plain("unsub a"));
    CHECK_FALSE(sticky.stick("a", answered("sub a"))); // before the peer was told
    CHECK(sticky.subscriptions.state("a") == StickyState::confirmed);
    CHECK(sticky.write().empty());

    (void)sticky.unstick("a", answered("unsub a"));
    CHECK(sticky.write() == Texts{"unsub a"});
    CHECK(sticky.stick("a", answered("sub a"))); // and after
    CHECK(sticky.subscriptions.state("a") == StickyState::waiting);
    CHECK(sticky.write() == Texts{"sub a"});
    CHECK(sticky.offer("ok sub a"));
    CHECK(sticky.subscriptions.state("a") == StickyState::confirmed);
}

TEST_CASE("subscriptions: a message that changed, was taken back and is given again is sent")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a", plain("one"));
    (void)sticky.write();
    (void)sticky.stick("a", plain("two")); // waits
    (void)sticky.unstick("a", plain("unsub"));
    CHECK(sticky.stick("a", plain("two")));
    CHECK(sticky.write() == Texts{"two"});
    CHECK(sticky.subscriptions.state("a") == StickyState::confirmed);
}

TEST_CASE("subscriptions: what is taken back does not come again, and is not waited for")
{
    Subscribed sticky;
    (void)sticky.stick("a", answered("sub a"));
    (void)sticky.stick("b", answered("sub b"));
    (void)sticky.begin_connection();
    (void)sticky.write();
    (void)sticky.unstick("a", answered("unsub a"));
    CHECK(sticky.subscriptions.unconfirmed() == Texts{"b"});
    sticky.end_connection();
    CHECK_FALSE(sticky.subscriptions.state("a"));
    (void)sticky.begin_connection();
    CHECK(sticky.write() == Texts{"sub b"});
    sticky.subscriptions.stop_waiting();
    CHECK(sticky.subscriptions.is_restored());
    CHECK(sticky.subscriptions.state("b") == StickyState::pending);
    CHECK(sticky.offer("ok sub b")); // which is not too late
}

TEST_CASE("subscriptions: it keeps its place among what is queued")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    const auto send = [&](std::string_view text) {
        REQUIRE(sticky.outbox.push(MessageKind::text, std::as_bytes(std::span{text}))
                == Outbox::Push::queued);
    };
    send("one");
    CHECK(sticky.stick("a", plain("sub a")));
    send("two");
    CHECK(sticky.stick("b", plain("sub b")));
    CHECK(sticky.unstick("a", plain("unsub a"))); // it was not sent yet
    CHECK(sticky.stick("a", plain("sub a")));
    send("three");
    CHECK(sticky.write() == Texts{"one", "two", "sub b", "sub a", "three"});
}

TEST_CASE("subscriptions: what is taken back while it is being written is told to the peer")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    CHECK(sticky.stick("a", plain("sub a")));
    const auto batch = sticky.outbox.next_batch();
    REQUIRE(batch);
    CHECK(sticky.unstick("a", plain("unsub a")));
    sticky.outbox.begin_write(*batch);
    sticky.outbox.finish(*batch);
    CHECK(sticky.subscriptions.state("a") == StickyState::removal_pending);
    CHECK(sticky.write() == Texts{"unsub a"});
    CHECK_FALSE(sticky.subscriptions.state("a"));
}

TEST_CASE(
    "subscriptions: one that changes before it is answered does not wait for what it holds up")
{
    Subscribed sticky;
    (void)sticky.stick("a", answered("sub a"));
    sticky.outbox.open(1);
    REQUIRE(sticky.outbox.push(MessageKind::text, {}) == Outbox::Push::queued);
    (void)sticky.begin_connection();
    sticky.outbox.set_gate(SendGate::restoring);
    CHECK(sticky.write() == Texts{"sub a"});
    CHECK(sticky.stick("a", answered("sub a deeper")));
    CHECK(sticky.write() == Texts{"sub a deeper"});
    CHECK(sticky.offer("ok sub a deeper"));
    CHECK(sticky.subscriptions.is_restored());
}

TEST_CASE("subscriptions: a predicate that throws says no")
{
    Subscribed sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a", {MessageKind::text, "sub a",
                             [](const MessageView&) -> bool { throw std::runtime_error{"no"}; }});
    (void)sticky.write();
    CHECK_FALSE(sticky.offer("ok"));
    CHECK(sticky.subscriptions.state("a") == StickyState::pending);
}

} // namespace subscriptions_test
