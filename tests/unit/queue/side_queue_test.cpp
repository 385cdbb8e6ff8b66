#include "queue/side_queue.hpp"

#include "queue/overflow.hpp"
#include "queue/terminal_failure.hpp"

#include "manual_clock.hpp"
#include "support/sanitized.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace side_queue_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace detail;
using Policy = OverflowPolicy;
using Put = SideQueue::Put;

/// "k1=7" has the key "k1"; what has no '=' has none.
std::optional<std::string_view> key_of(const MessageView& message)
{
    const auto equals = message.text().find('=');
    if (equals == std::string_view::npos)
        return std::nullopt;
    return message.text().substr(0, equals);
}

struct Fixture {
    explicit Fixture(Overflow overflow = {.policy = Policy::drop_oldest, .queue_messages = 3})
        : queue{side.open(LinkId{7}, resolved(std::move(overflow), 1000))}
    {
    }
    Put put(std::string_view text)
    {
        return side.put(queue, position, MessageKind::text, std::as_bytes(std::span{text}),
                        clock.time);
    }
    void put_all(std::initializer_list<std::string_view> texts)
    {
        for (const auto text : texts)
            CHECK(put(text) == Put::taken);
    }
    void push(Event::Kind kind, LinkId link = LinkId{7})
    {
        side.push(LinkEvent{position, kind, link, std::nullopt});
    }
    /// What is due, as words: "a", "gap 3 dropped_oldest", "up".
    std::vector<std::string> take_all()
    {
        std::vector<std::string> words;
        while (side.is_due(position)) {
            auto word = take();
            if (!word.empty())
                words.push_back(std::move(word));
        }
        return words;
    }
    std::string take()
    {
        const auto taken = side.take(position, SideQueue::Ends::take);
        if (!taken.entry)
            return {};
        space_freed += taken.frees_space;
        const auto& entry = *taken.entry;
        switch (entry.what) {
        case SideEntry::What::message: return std::string{entry.view().text()};
        case SideEntry::What::gap:
            return "gap " + std::to_string(entry.missing) + " " + std::string{name(entry.reason)};
        case SideEntry::What::event: break;
        }
        return std::string{to_string(entry.event->kind)};
    }
    static std::string_view name(GapReason reason)
    {
        constexpr std::string_view names[] = {"none", "oldest", "newest", "conflated", "too old"};
        return names[static_cast<std::size_t>(reason)];
    }

    ManualClock clock;
    SideQueue side{clock};
    LinkQueue& queue;
    std::uint64_t position = 0;
    int space_freed = 0;
};

using Words = std::vector<std::string>;

TEST_CASE("SideQueue: an entry is due once the records before it are taken")
{
    Fixture f;
    CHECK_FALSE(f.side.has_any());
    CHECK_FALSE(f.side.is_due(UINT64_MAX - 1));
    f.position = 40;
    f.put_all({"a"});
    f.position = 80;
    f.push(Event::Kind::down);
    CHECK(f.side.has_any());
    CHECK_FALSE(f.side.is_due(39));
    CHECK_FALSE(f.side.take(39, SideQueue::Ends::take).entry);
    CHECK(f.side.is_due(40));
    CHECK(f.side.take(40, SideQueue::Ends::take).entry->view().text() == "a");
    CHECK_FALSE(f.side.is_due(79));
    CHECK(f.take() == "down");
    CHECK_FALSE(f.side.has_any());
}

TEST_CASE("SideQueue: of two links the entries keep their order")
{
    Fixture f;
    auto& other = f.side.open(LinkId{8}, resolved({.policy = Policy::drop_oldest}, 1000));
    const auto put_other = [&](std::string_view text) {
        CHECK(f.side.put(other, 0, MessageKind::text, std::as_bytes(std::span{text}), {})
              == Put::taken);
    };
    f.push(Event::Kind::up);
    f.put_all({"a"});
    put_other("x");
    f.push(Event::Kind::up, LinkId{99});
    f.put_all({"b", "c"});
    put_other("y");
    f.put_all({"d"});
    CHECK(f.take_all() == Words{"up", "gap 1 oldest", "x", "up", "b", "c", "y", "d"});
}

TEST_CASE("drop_oldest: the oldest are missing at their place, and what comes after is whole")
{
    Fixture f;
    f.put_all({"a", "b", "c", "d", "e"});
    CHECK(f.take_all() == Words{"gap 2 oldest", "c", "d", "e"});
    f.put_all({"f"});
    CHECK(f.take_all() == Words{"f"});
}

TEST_CASE("drop_oldest: a seam stays where it is, and each side of it has its own gap")
{
    Fixture f;
    f.put_all({"a", "b"});
    f.push(Event::Kind::down);
    f.push(Event::Kind::up);
    f.put_all({"c", "d", "e", "f"});
    CHECK(f.take_all() == Words{"gap 2 oldest", "down", "up", "gap 1 oldest", "d", "e", "f"});
}

TEST_CASE("drop_oldest: a message that fits in an empty queue is never lost itself")
{
    Fixture f{{.policy = Policy::drop_oldest, .queue_bytes = side_entry_cost(1000)}};
    const std::string large(1000, 'x');
    f.put_all({large, "small", large});
    CHECK(f.take_all() == Words{"gap 2 oldest", large});
}

TEST_CASE("drop_newest: what came without room is missing at its place")
{
    Fixture f{{.policy = Policy::drop_newest, .queue_messages = 2}};
    f.put_all({"a", "b", "c", "d"});
    CHECK(f.take() == "a");
    f.put_all({"e", "f"});
    CHECK(f.take_all() == Words{"b", "gap 2 newest", "e", "gap 1 newest"});
    f.put_all({"g"});
    CHECK(f.take_all() == Words{"g"});
}

TEST_CASE("drop_newest: losses on both sides of a seam do not merge")
{
    Fixture f{{.policy = Policy::drop_newest, .queue_messages = 1}};
    f.put_all({"a", "b", "c"});
    f.push(Event::Kind::down);
    f.push(Event::Kind::up);
    f.put_all({"d"});
    CHECK(f.take_all() == Words{"a", "gap 2 newest", "down", "up", "gap 1 newest"});
}

TEST_CASE("conflate: the latest of each key stands where the first that was not taken stood")
{
    Fixture f{{.policy = Policy::conflate, .key = key_of}};
    f.put_all({"a=1", "b=1", "hello", "a=2", "hello", "b=2", "a=3"});
    const auto taken = f.side.take(0, SideQueue::Ends::take);
    CHECK(taken.entry->view().text() == "a=3");
    CHECK(taken.entry->missing == 2); // so many has it replaced
    CHECK(f.take_all() == Words{"b=2", "hello", "hello"});
    f.put_all({"a=4"}); // replaces nothing: what was taken is gone
    CHECK(f.take_all() == Words{"a=4"});
    CHECK(f.side.counts().lost[static_cast<std::size_t>(GapReason::conflated)] == 3);
}

TEST_CASE("conflate: never across a seam of the link, but another link's is none")
{
    for (const auto kind : {Event::Kind::up, Event::Kind::down, Event::Kind::gap}) {
        Fixture f{{.policy = Policy::conflate, .key = key_of}};
        f.put_all({"a=1"});
        f.push(kind);
        f.put_all({"a=2"});
        f.push(kind, LinkId{99});
        f.put_all({"a=3"});
        const auto name = std::string{to_string(kind)};
        CHECK(f.take_all() == Words{"a=1", name, "a=3", name});
    }
}

TEST_CASE("conflate: with too many keys the oldest message makes way")
{
    Fixture f{{.policy = Policy::conflate, .key = key_of, .queue_messages = 2}};
    f.put_all({"a=1", "b=1", "c=1", "b=2", "c=2", "a=2"});
    CHECK(f.take_all() == Words{"gap 2 oldest", "gap 1 conflated", "c=2", "a=2"}); // b=1, with b=2
}

TEST_CASE("conflate: messages and keys of any size, and keys that are no part of the message")
{
    std::string made;
    Fixture f{{.policy = Policy::conflate, .key = [&made](const MessageView& message) {
                   made = "a key of its own, made for each call: "
                          + std::string{message.text().substr(0, 1)};
                   return std::optional<std::string_view>{made};
               }}};
    const std::string large(900, 'a');
    f.put_all({"a", "b", large, "b2", "a3"});
    CHECK(f.take_all() == Words{"a3", "b2"});
    for (int round = 0; round < 3; ++round)
        for (char c = 'A'; c <= 'Z'; ++c) {
            const std::string text(static_cast<std::size_t>(round * 300 + 1), c);
            CHECK(f.put(text) == Put::taken);
        }
    const auto words = f.take_all();
    CHECK(words.size() == 26);
    for (const auto& word : words)
        CHECK(word.size() == 601);
}

TEST_CASE("conflate: an empty message and an empty key are a message and a key like others")
{
    Fixture f{{.policy = Policy::conflate, .key = [](const MessageView& message) {
                   return std::optional{message.text().substr(0, 0)};
               }}};
    f.put_all({"", "x", ""});
    const auto taken = f.side.take(0, SideQueue::Ends::take);
    CHECK(taken.entry->size == 0);
    CHECK(taken.entry->missing == 2);
    CHECK_FALSE(f.side.has_any());
}

TEST_CASE("fail: the message is refused, nothing is counted, what waits stays")
{
    Fixture f{{.policy = Policy::fail, .queue_messages = 1}};
    f.put_all({"a"});
    CHECK(f.put("b") == Put::failed);
    CHECK(f.side.counts().received == 1);
    CHECK(f.take_all() == Words{"a"});
}

TEST_CASE("pause_reading: no room is said, and space is told once half is free")
{
    Fixture f{{.queue_messages = 4}};
    f.put_all({"a", "b", "c", "d"});
    CHECK(f.put("e") == Put::no_room);
    CHECK(f.side.counts().received == 4);
    CHECK(f.take() == "a");
    CHECK(f.space_freed == 0);
    CHECK(f.take() == "b");
    CHECK(f.space_freed == 1);
    CHECK(f.take() == "c");
    CHECK(f.space_freed == 1);
    CHECK(f.put("e") == Put::taken);
    CHECK(f.take_all() == Words{"d", "e"});
}

TEST_CASE("pause_reading: who asks for room is told of it too")
{
    Fixture f{{.queue_messages = 1}};
    CHECK(f.side.want_room(f.queue, 1000, f.clock.time));
    f.put_all({"a"});
    CHECK_FALSE(f.side.want_room(f.queue, 1000, f.clock.time));
    CHECK(f.take() == "a");
    CHECK(f.space_freed == 1);
    CHECK(f.side.want_room(f.queue, 1000, f.clock.time));
}

TEST_CASE("max_age: what is too old when it would be taken is missing at its place")
{
    Fixture f{{.max_age = 10ms}};
    f.put_all({"a"});
    f.clock.time += 5ms;
    f.put_all({"b"});
    f.clock.time += 5ms;
    CHECK(f.take() == "a"); // not older than that
    f.clock.time += 1ms;
    f.put_all({"c"});
    f.clock.time += 5ms;
    CHECK(f.take_all() == Words{"gap 1 too old", "c"});
    f.put_all({"d", "e"});
    f.clock.time += 11ms;
    f.put_all({"f"});
    CHECK(f.take_all() == Words{"gap 2 too old", "f"});
}

TEST_CASE("max_age: what is too old makes way first, whatever the policy")
{
    Fixture f{{.policy = Policy::drop_newest, .queue_messages = 2, .max_age = 10ms}};
    f.put_all({"a", "b", "c"});
    f.clock.time += 11ms;
    f.put_all({"d"});
    CHECK(f.take_all() == Words{"gap 2 too old", "gap 1 newest", "d"});
    Fixture pausing{{.queue_messages = 1, .max_age = 10ms}};
    pausing.put_all({"a"});
    CHECK(pausing.put("b") == Put::no_room);
    CHECK_FALSE(pausing.side.want_room(pausing.queue, 1, pausing.clock.time));
    pausing.clock.time += 11ms;
    CHECK(pausing.side.want_room(pausing.queue, 1, pausing.clock.time));
    pausing.put_all({"b"});
    CHECK(pausing.take_all() == Words{"gap 1 too old", "b"});
}

TEST_CASE("gaps: of two reasons in turn there stay two")
{
    Fixture f{{.policy = Policy::drop_oldest, .queue_messages = 2, .max_age = 10ms}};
    for (int i = 0; i < 100; ++i) {
        f.put_all({"a", "b", "c"});
        f.clock.time += 11ms;
        f.put_all({"d"});
    }
    CHECK(f.take_all() == Words{"gap 199 oldest", "gap 200 too old", "d"});
}

TEST_CASE("water: high comes before what waits, low once it has sunk, each once")
{
    Fixture f{{.queue_messages = 100, .high = {.messages = 4}, .low = {.messages = 1}}};
    f.put_all({"a", "b", "c"});
    CHECK(f.take() == "a");
    f.put_all({"d", "e", "f", "g"});
    CHECK(f.take_all() == Words{"high water", "b", "c", "d", "e", "f", "low water", "g"});
    f.put_all({"h", "i", "j", "k"});
    CHECK(f.take() == "high water");
}

TEST_CASE("water: what was not told yet and does not hold any more is not told")
{
    Fixture f{{.policy = Policy::drop_oldest,
               .queue_messages = 100,
               .max_age = 10ms,
               .high = {.messages = 4}}};
    f.put_all({"a", "b", "c", "d"});
    f.clock.time += 11ms;
    f.put_all({"e"});
    CHECK(f.take_all() == Words{"gap 4 too old", "e"});
    f.put_all({"f", "g", "h", "i"});
    CHECK(f.take() == "high water");
}

TEST_CASE("SideQueue: what would end a call is left to the next one")
{
    Fixture f;
    f.put_all({"a", "b", "c", "d"});
    CHECK(f.side.take(0, SideQueue::Ends::leave).is_left);
    CHECK(f.take() == "gap 1 oldest");
    CHECK(f.side.take(0, SideQueue::Ends::leave).entry->view().text() == "b");
    f.push(Event::Kind::up);
    f.push(Event::Kind::down);
    CHECK(f.take() == "c");
    CHECK(f.take() == "d");
    CHECK(f.side.take(0, SideQueue::Ends::leave).entry->event->kind == Event::Kind::up);
    const auto left = f.side.take(0, SideQueue::Ends::leave);
    CHECK(left.is_left);
    CHECK_FALSE(left.entry);
    CHECK(f.take() == "down");
}

TEST_CASE("SideQueue: messages and gaps carry the connection that brought them")
{
    Fixture f{{.policy = Policy::drop_newest, .queue_messages = 1}};
    LinkEvent up{0, Event::Kind::up, LinkId{7}, std::nullopt};
    up.connection = 4;
    f.side.push(up);
    f.put_all({"a", "b"});
    CHECK(f.take() == "up");
    CHECK(f.side.take(0, SideQueue::Ends::take).entry->view().connection() == 4);
    CHECK(f.side.take(0, SideQueue::Ends::take).entry->connection == 4);
}

TEST_CASE("SideQueue: a closed queue goes with its last entry")
{
    Fixture f;
    f.put_all({"a", "b", "c", "d"});
    CHECK(f.side.memory_bytes() > 0);
    f.side.close(f.queue);
    CHECK(f.take_all() == Words{"gap 1 oldest", "b", "c", "d"});
    CHECK(f.side.memory_bytes() <= SideEntryPool::most_kept_bytes);
    CHECK(f.side.counts().received == 4);
    auto& again = f.side.open(LinkId{7}, resolved({.policy = Policy::drop_oldest}, 10));
    CHECK(&again != nullptr);
    f.side.close(again);
}

TEST_CASE("SideQueue: the oldest message's arrival is known")
{
    Fixture f;
    CHECK_FALSE(f.side.oldest());
    f.clock.time = TimePoint{5s};
    f.put_all({"a"});
    f.clock.time = TimePoint{6s};
    f.put_all({"b"});
    CHECK(f.side.oldest() == TimePoint{5s});
    CHECK(f.take() == "a");
    CHECK(f.side.oldest() == TimePoint{6s});
}

TEST_CASE(
    "SideQueue: a consumer that sleeps for a minute at 50,000 messages a second costs no more than "
    "the bound")
{
    constexpr std::size_t bound = 256u << 10;
    constexpr std::uint64_t count = is_sanitized ? 300'000 : 3'000'000;
    for (const auto policy : {Policy::drop_oldest, Policy::drop_newest, Policy::conflate}) {
        Overflow overflow{.policy = policy, .queue_bytes = bound};
        if (policy == Policy::conflate)
            overflow.key = key_of;
        Fixture f{std::move(overflow)};
        std::string text = "k0000=" + std::string(100, 'x');
        for (std::uint64_t i = 0; i < count; ++i) {
            text[3] = static_cast<char>('0' + i % 7);
            f.clock.time += 20us;
            if (f.put(text) != Put::taken)
                FAIL("not taken");
        }
        CHECK(f.side.memory_bytes() <= bound + sizeof(SideEntry) + SideEntryPool::most_kept_bytes);
        const auto counts = f.side.counts();
        CHECK(counts.received == count);
        CHECK(counts.queued() >= (policy == Policy::conflate ? 7 : counts.peak_messages - 1));
        CHECK(counts.received == counts.queued() + counts.lost_messages());
        std::uint64_t taken = 0, missing = 0;
        while (f.side.has_any()) {
            const auto next = f.side.take(0, SideQueue::Ends::take);
            taken += next.entry->what == SideEntry::What::message;
            missing += next.entry->missing;
        }
        CHECK(taken + missing == count);
    }
}

TEST_CASE("SideQueue: its peak is what waited at once, not what came and was lost")
{
    for (const auto policy : {Policy::drop_oldest, Policy::drop_newest, Policy::conflate}) {
        Overflow overflow{.policy = policy, .queue_messages = 2};
        if (policy == Policy::conflate)
            overflow.key = key_of;
        Fixture f{std::move(overflow)};
        f.put_all({"a=1", "b=1", "a=2", "c=1"});
        CHECK(f.side.counts().peak_messages == 2);
        CHECK(f.side.counts().peak_bytes == 6);
    }
}

TEST_CASE("SideQueue: gaps between messages count towards the bound")
{
    constexpr std::size_t bound = 256u << 10;
    Fixture f{{.policy = Policy::drop_newest, .queue_bytes = bound}};
    const std::string text(100, 'x');
    for (int i = 0; i < 100'000; ++i) {
        REQUIRE(f.put(text) == Put::taken);
        if (i % 10 == 9)
            (void)f.take();
    }
    CHECK(f.side.memory_bytes() <= bound + sizeof(SideEntry) + SideEntryPool::most_kept_bytes);
    const auto counts = f.side.counts();
    CHECK(counts.received == counts.taken + counts.queued() + counts.lost_messages());
}

TEST_CASE("TerminalFailure: is there until it is taken back")
{
    TerminalFailure failure;
    CHECK_FALSE(failure.is_set());
    CHECK_FALSE(failure.why());
    failure.set(Failure{Error::connect_failed});
    CHECK(failure.is_set());
    CHECK(failure.why() == Error::connect_failed);
    failure.set(std::nullopt);
    CHECK_FALSE(failure.is_set());
}

} // namespace side_queue_test
