// Where sticky messages stand: no thread, no connection.
#include "link/sticky.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace sticky_test {

using namespace sidecar;
using detail::Sticky;
using detail::StickyMessage;

StickyMessage plain(std::string text) { return {MessageKind::text, std::move(text), {}}; }
/// Answered by "ok <text>".
StickyMessage answered(std::string text)
{
    return {MessageKind::text, text,
            [text](const MessageView& message) { return message.text() == "ok " + text; }};
}
MessageView view(std::string_view text)
{
    return {LinkId{}, MessageKind::text, std::as_bytes(std::span{text})};
}
std::vector<std::string> texts(const std::vector<Sticky::Write>& writes)
{
    std::vector<std::string> texts;
    for (const auto& write : writes)
        texts.push_back(write.message->payload);
    return texts;
}
/// Takes what is due and has it written.
std::vector<std::string> write(Sticky& sticky, std::uint64_t position = UINT64_MAX)
{
    const auto writes = sticky.take(position);
    sticky.written(writes);
    return texts(writes);
}
using Texts = std::vector<std::string>;

TEST_CASE("sticky: each connection begins with all of them, in the order in which they were given")
{
    Sticky sticky;
    CHECK_FALSE(sticky.stick("b", plain("sub b"), 0)); // there is no connection
    CHECK_FALSE(sticky.stick("a", plain("sub a"), 0));
    CHECK(sticky.state("a") == StickyState::waiting);
    for (int i = 0; i < 2; ++i) {
        CHECK(sticky.begin_connection());
        CHECK_FALSE(sticky.is_restored());
        CHECK(write(sticky) == Texts{"sub b", "sub a"});
        CHECK(sticky.is_restored());
        CHECK(sticky.counts().confirmed == 2);
        CHECK(write(sticky).empty());
        sticky.end_connection();
        CHECK(sticky.counts().waiting == 2);
    }
    CHECK_FALSE(sticky.state("c"));
    CHECK_FALSE(Sticky{}.begin_connection());
}

TEST_CASE("sticky: a key that is there is not sent or counted again, unless its message changed")
{
    Sticky sticky;
    (void)sticky.begin_connection();
    CHECK(sticky.stick("a", plain("sub a"), 0));
    CHECK_FALSE(sticky.stick("a", plain("sub a"), 0));
    CHECK(write(sticky) == Texts{"sub a"});
    CHECK_FALSE(sticky.stick("a", plain("sub a"), 0));
    CHECK(write(sticky).empty());
    CHECK(sticky.counts().confirmed == 1);
    CHECK(sticky.stick("a", plain("sub a deeper"), 0));
    CHECK(sticky.stick("a", plain("sub a deepest"), 0));
    CHECK(write(sticky) == Texts{"sub a deepest"});
}

TEST_CASE("sticky: it is confirmed by its answer, and each answer confirms one")
{
    Sticky sticky;
    const auto any_ok = [](const MessageView& message) { return message.text() == "ok"; };
    (void)sticky.stick("a", {MessageKind::text, "sub a", any_ok}, 0);
    (void)sticky.stick("b", {MessageKind::text, "sub b", any_ok}, 0);
    (void)sticky.begin_connection();
    CHECK_FALSE(sticky.offer(view("ok"))); // nothing was sent yet
    const auto writes = sticky.take(0);
    CHECK(sticky.offer(view("ok"))); // faster than the end of the write is seen
    sticky.written(writes);
    CHECK(sticky.state("a") == StickyState::confirmed);
    CHECK(sticky.state("b") == StickyState::pending);
    CHECK(sticky.unconfirmed() == Texts{"b"});
    CHECK_FALSE(sticky.offer(view("something else")));
    CHECK(sticky.offer(view("ok")));
    CHECK(sticky.is_restored());
    CHECK_FALSE(sticky.expects_answers());
    CHECK_FALSE(sticky.offer(view("ok")));
}

TEST_CASE("sticky: what is taken back is told to the peer if it was sent, and then forgotten")
{
    Sticky sticky;
    (void)sticky.begin_connection();
    CHECK_FALSE(sticky.unstick("a", plain("unsub a"), 0).was_there);
    (void)sticky.stick("a", plain("sub a"), 0);
    CHECK(sticky.unstick("a", plain("unsub a"), 0).was_there); // nothing was sent yet
    CHECK(write(sticky).empty());
    CHECK_FALSE(sticky.state("a"));

    (void)sticky.stick("a", plain("sub a"), 0);
    CHECK(write(sticky) == Texts{"sub a"});
    CHECK(sticky.unstick("a", plain("unsub a"), 0).has_changed);
    CHECK(sticky.state("a") == StickyState::removal_pending);
    CHECK_FALSE(sticky.unstick("a", plain("unsub a"), 0).was_there);
    CHECK(write(sticky) == Texts{"unsub a"});
    CHECK_FALSE(sticky.state("a"));

    (void)sticky.stick("a", plain("sub a"), 0);
    (void)write(sticky);
    CHECK(sticky.unstick("a", {}, 0).was_there); // there is nothing to tell
    CHECK_FALSE(sticky.state("a"));
    CHECK(write(sticky).empty());
}

TEST_CASE("sticky: answers that come late are ignored")
{
    Sticky sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a", answered("sub a"), 0);
    (void)write(sticky);
    (void)sticky.unstick("a", answered("unsub a"), 0);
    CHECK_FALSE(sticky.offer(view("ok sub a")));
    CHECK(sticky.state("a") == StickyState::removal_pending);
    (void)write(sticky);
    CHECK(sticky.state("a") == StickyState::removal_pending);
    CHECK(sticky.offer(view("ok unsub a")));
    CHECK_FALSE(sticky.state("a"));
    // and on the next connection
    (void)sticky.stick("b", answered("sub b"), 0);
    (void)write(sticky);
    sticky.end_connection();
    CHECK_FALSE(sticky.offer(view("ok sub b")));
    CHECK(sticky.state("b") == StickyState::waiting);
}

TEST_CASE("sticky: given again while it is being taken back")
{
    Sticky sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a", answered("sub a"), 0);
    (void)write(sticky);
    CHECK(sticky.offer(view("ok sub a")));
    (void)sticky.unstick("a", plain("unsub a"), 0);
    CHECK_FALSE(sticky.stick("a", answered("sub a"), 0)); // before the peer was told
    CHECK(sticky.state("a") == StickyState::confirmed);
    CHECK(write(sticky).empty());

    (void)sticky.unstick("a", answered("unsub a"), 0);
    CHECK(write(sticky) == Texts{"unsub a"});
    CHECK(sticky.stick("a", answered("sub a"), 0)); // and after
    CHECK(sticky.state("a") == StickyState::waiting);
    CHECK(write(sticky) == Texts{"sub a"});
    CHECK(sticky.offer(view("ok sub a")));
    CHECK(sticky.state("a") == StickyState::confirmed);
}

TEST_CASE("sticky: a message that changed, was taken back and is given again is sent")
{
    Sticky sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a", plain("one"), 0);
    (void)write(sticky);
    (void)sticky.stick("a", plain("two"), 0); // waits
    (void)sticky.unstick("a", plain("unsub"), 0);
    CHECK(sticky.stick("a", plain("two"), 0));
    CHECK(write(sticky) == Texts{"two"});
    CHECK(sticky.state("a") == StickyState::confirmed);
}

TEST_CASE("sticky: what is taken back does not come again, and is not waited for")
{
    Sticky sticky;
    (void)sticky.stick("a", answered("sub a"), 0);
    (void)sticky.stick("b", answered("sub b"), 0);
    (void)sticky.begin_connection();
    (void)write(sticky);
    (void)sticky.unstick("a", answered("unsub a"), 0);
    CHECK(sticky.unconfirmed() == Texts{"b"});
    sticky.end_connection();
    CHECK_FALSE(sticky.state("a"));
    (void)sticky.begin_connection();
    CHECK(write(sticky) == Texts{"sub b"});
    sticky.stop_waiting();
    CHECK(sticky.is_restored());
    CHECK(sticky.state("b") == StickyState::pending);
    CHECK(sticky.offer(view("ok sub b"))); // which is not too late
}

TEST_CASE("sticky: it keeps its place among what is queued")
{
    Sticky sticky;
    (void)sticky.begin_connection();
    CHECK_FALSE(sticky.has_to_write());
    CHECK(sticky.limit() == UINT64_MAX);
    (void)sticky.stick("a", plain("sub a"), 100);
    (void)sticky.stick("b", plain("sub b"), 200);
    CHECK(sticky.has_to_write());
    CHECK(sticky.limit() == 100);
    CHECK(write(sticky, 99).empty());
    CHECK(write(sticky, 100) == Texts{"sub a"});
    CHECK(sticky.limit() == 200);
    CHECK(write(sticky, 300) == Texts{"sub b"});
    CHECK_FALSE(sticky.has_to_write());
}

TEST_CASE("sticky: a predicate that throws says no")
{
    Sticky sticky;
    (void)sticky.begin_connection();
    (void)sticky.stick("a",
                       {MessageKind::text, "sub a",
                        [](const MessageView&) -> bool { throw std::runtime_error{"no"}; }},
                       0);
    (void)write(sticky);
    CHECK_FALSE(sticky.offer(view("ok")));
    CHECK(sticky.state("a") == StickyState::pending);
}

} // namespace sticky_test
