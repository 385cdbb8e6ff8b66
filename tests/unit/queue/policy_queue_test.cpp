#include "queue/policy_queue.hpp"

#include "queue/overflow.hpp"

#include "manual_clock.hpp"
#include "support/sanitized.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace policy_queue_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace detail;
using Policy = OverflowPolicy;
using Put = LinkQueue::PutOutcome;

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
        return side.put(queue, position,
                        {LinkId{7}, MessageKind::text, std::as_bytes(std::span{text})}, clock.time);
    }
    void put_all(std::initializer_list<std::string_view> texts)
    {
        for (const auto text : texts)
            CHECK(put(text) == Put::taken);
    }
    void push(Event::Kind kind, LinkId link = LinkId{7})
    {
        side.push(position, std::make_unique<Event>(Event{.kind = kind, .link = link}));
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
        const auto taken = side.take(position, PolicyQueue::Ends::take);
        if (!taken.event)
            return {};
        space_freed += taken.frees_space;
        const auto& event = *taken.event;
        if (event.kind == Event::Kind::message)
            return std::string{event.message.text()};
        if (event.kind == Event::Kind::gap)
            return "gap " + std::to_string(event.missing) + " "
                   + std::string{name(event.gap_reason)};
        return std::string{to_string(event.kind)};
    }
    static std::string_view name(GapReason reason)
    {
        constexpr std::string_view names[] = {"none", "oldest", "newest", "conflated", "too old"};
        return names[static_cast<std::size_t>(reason)];
    }

    ManualClock clock;
    PolicyQueue side{clock};
    LinkQueue& queue;
    std::uint64_t position = 0;
    int space_freed = 0;
};

using Words = std::vector<std::string>;

std::uint64_t lost_of(const QueueCounts& counts)
{
    return std::accumulate(counts.lost.begin(), counts.lost.end(), std::uint64_t{0});
}

TEST_CASE("PolicyQueue: an entry is due once the records before it are taken")
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
    CHECK_FALSE(f.side.take(39, PolicyQueue::Ends::take).event);
    CHECK(f.side.is_due(40));
    CHECK(f.side.take(40, PolicyQueue::Ends::take).event->message.text() == "a");
    CHECK_FALSE(f.side.is_due(79));
    CHECK(f.take() == "down");
    CHECK_FALSE(f.side.has_any());
}

TEST_CASE("PolicyQueue: of two links the entries keep their order")
{
    Fixture f;
    auto& other = f.side.open(LinkId{8}, resolved({.policy = Policy::drop_oldest}, 1000));
    const auto put_other = [&](std::string_view text) {
        CHECK(
            f.side.put(other, 0, {LinkId{8}, MessageKind::text, std::as_bytes(std::span{text})}, {})
            == Put::taken);
    };
    f.push(Event::Kind::up);
    f.put_all({"a"});
    put_other("x");
    f.push(Event::Kind::up, LinkId{99});
    f.put_all({"b", "c"});
    put_other("y");
    f.put_all({"d"});
    CHECK(f.take_all() == Words{"up", "x", "up", "gap 1 oldest", "b", "c", "y", "d"});
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
    Fixture f{{.policy = Policy::drop_oldest, .queue_bytes = entry_cost(1000)}};
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
    const auto taken = f.side.take(0, PolicyQueue::Ends::take);
    CHECK(taken.event->message.text() == "a=3");
    CHECK(taken.event->message.replaced() == 2);
    CHECK(taken.event->missing == 0);
    CHECK(f.take_all() == Words{"b=2", "hello", "hello"});
    f.put_all({"a=4"}); // replaces nothing: what was taken is gone
    CHECK(f.take_all() == Words{"a=4"});
    CHECK(f.side.counts().lost[static_cast<std::size_t>(GapReason::conflated)] == 3);
}

TEST_CASE("conflate: never across a seam of the link, but another link's is none")
{
    for (const auto kind : {Event::Kind::up, Event::Kind::down}) {
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
    const auto taken = f.side.take(0, PolicyQueue::Ends::take);
    CHECK(taken.event->message.size() == 0);
    CHECK(taken.event->message.replaced() == 2);
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
    CHECK(f.take_all() == Words{"gap 1 newest", "gap 2 too old", "d"});
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

TEST_CASE("PolicyQueue: what would end a call is left to the next one")
{
    Fixture f;
    f.put_all({"a", "b", "c", "d"});
    CHECK(f.side.take(0, PolicyQueue::Ends::leave).is_left);
    CHECK(f.take() == "gap 1 oldest");
    CHECK(f.side.take(0, PolicyQueue::Ends::leave).event->message.text() == "b");
    f.push(Event::Kind::up);
    f.push(Event::Kind::down);
    CHECK(f.take() == "c");
    CHECK(f.take() == "d");
    CHECK(f.side.take(0, PolicyQueue::Ends::leave).event->kind == Event::Kind::up);
    const auto left = f.side.take(0, PolicyQueue::Ends::leave);
    CHECK(left.is_left);
    CHECK_FALSE(left.event);
    CHECK(f.take() == "down");
}

TEST_CASE("PolicyQueue: messages and gaps carry the connection that brought them")
{
    Fixture f{{.policy = Policy::drop_newest, .queue_messages = 1}};
    f.side.push(0, std::make_unique<Event>(
                       Event{.kind = Event::Kind::up, .link = LinkId{7}, .connection = 4}));
    f.put_all({"a", "b"});
    CHECK(f.take() == "up");
    CHECK(f.side.take(0, PolicyQueue::Ends::take).event->message.connection() == 4);
    CHECK(f.side.take(0, PolicyQueue::Ends::take).event->connection == 4);
}

TEST_CASE("PolicyQueue: a closed queue goes with its last entry")
{
    Fixture f;
    f.put_all({"a", "b", "c", "d"});
    CHECK(f.side.use().bytes > 0);
    f.side.close(f.queue);
    CHECK(f.take_all() == Words{"gap 1 oldest", "b", "c", "d"});
    CHECK(f.side.use().bytes == 0);
    CHECK(f.side.counts().received == 4);
    auto& again = f.side.open(LinkId{7}, resolved({.policy = Policy::drop_oldest}, 10));
    CHECK(&again != nullptr);
    f.side.close(again);
}

TEST_CASE("PolicyQueue: the oldest message's arrival is known")
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

TEST_CASE("PolicyQueue: a consumer that sleeps for a minute at 50,000 messages a second costs no "
          "more than "
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
        CHECK(f.side.use().bytes <= bound);
        const auto counts = f.side.counts();
        CHECK(counts.received == count);
        CHECK(counts.queued() >= (policy == Policy::conflate ? 7 : counts.peak_messages - 1));
        CHECK(counts.received == counts.queued() + lost_of(counts));
        std::uint64_t taken = 0, missing = 0;
        while (f.side.has_any()) {
            const auto next = f.side.take(0, PolicyQueue::Ends::take);
            taken += next.event->kind == Event::Kind::message;
            missing += next.event->missing + next.event->message.replaced();
        }
        CHECK(taken + missing == count);
    }
}

TEST_CASE("PolicyQueue: its peak is what waited at once, not what came and was lost")
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

TEST_CASE("PolicyQueue: gaps between messages cost no memory")
{
    constexpr std::size_t bound = 256u << 10;
    Fixture f{{.policy = Policy::drop_newest, .queue_bytes = bound}};
    const std::string text(100, 'x');
    for (int i = 0; i < 100'000; ++i) {
        REQUIRE(f.put(text) == Put::taken);
        if (i % 10 == 9)
            (void)f.take();
    }
    CHECK(f.side.use().bytes <= bound);
    const auto counts = f.side.counts();
    CHECK(counts.received == counts.taken + counts.queued() + lost_of(counts));
}

TEST_CASE("conflate with max_age: the oldest is the one that arrived first, not the first in order")
{
    Fixture f{{.policy = Policy::conflate, .key = key_of, .queue_messages = 2, .max_age = 2s}};
    f.put_all({"a=1", "b=1"});
    f.clock.time += 1500ms;
    f.put_all({"a=2"}); // in its old place
    CHECK(f.side.oldest() == TimePoint{});
    f.clock.time += 1s;
    f.put_all({"c=1"}); // b=1 is too old, and so it makes way, not the fresh a=2
    CHECK(f.side.oldest() == TimePoint{1500ms});
    CHECK(f.take_all() == Words{"a=2", "gap 1 too old", "c=1"});
    CHECK(f.side.counts().lost[static_cast<std::size_t>(GapReason::too_old)] == 1);
}

TEST_CASE("conflate: with too many keys the one that was not renewed for the longest makes way")
{
    Fixture f{{.policy = Policy::conflate, .key = key_of, .queue_messages = 2}};
    f.put_all({"a=1", "b=1", "a=2", "c=1"});
    CHECK(f.take_all() == Words{"a=2", "gap 1 oldest", "c=1"});
}

TEST_CASE("pause_reading: asking for little room takes back no wish for much")
{
    Fixture f{{.queue_bytes = 2 * entry_cost(1000)}};
    const std::string large(1000, 'x');
    f.put_all({large, large});
    CHECK_FALSE(f.side.want_room(f.queue, 1000, f.clock.time));
    CHECK_FALSE(f.side.want_room(f.queue, 0, f.clock.time));
    CHECK(f.take() == large);
    CHECK(f.side.want_room(f.queue, 0, f.clock.time)); // there is some
    CHECK(f.take() == large);
    CHECK(f.space_freed == 1);
}

TEST_CASE(
    "PolicyQueue: a link that comes and goes while nobody takes costs bounded memory, and its "
    "story stays true")
{
    for (const auto policy : {Policy::drop_oldest, Policy::drop_newest, Policy::conflate}) {
        for (const bool is_ready : {false, true}) {
            CAPTURE(to_string(policy));
            Overflow overflow{.policy = policy, .queue_messages = 4};
            if (policy == Policy::conflate)
                overflow.key = key_of;
            Fixture f{std::move(overflow)};
            constexpr std::uint32_t connections = 20'000;
            const auto push = [&](Event::Kind kind, std::uint32_t connection) {
                f.side.push(0, std::make_unique<Event>(Event{
                                   .kind = kind,
                                   .link = LinkId{7},
                                   .failure = Failure{Error::disconnected},
                                   .connection = connection,
                               }));
            };
            for (std::uint32_t connection = 1; connection <= connections; ++connection) {
                push(Event::Kind::up, connection);
                if (is_ready)
                    push(Event::Kind::ready, connection);
                CHECK(f.put("k=" + std::to_string(connection)) == Put::taken);
                push(Event::Kind::down, connection);
                for (std::uint32_t i = 0; i < connection % 3; ++i)
                    push(Event::Kind::retry, connection);
                REQUIRE(f.side.use().entries <= 4 + 5 * LinkQueue::max_run);
            }
            CHECK(f.side.counts().queued() == 4);
            std::uint64_t accounted = 0;
            std::uint32_t connection = 0;
            bool is_up = false, was_ready = false;
            while (f.side.has_any()) {
                const auto event = *f.side.take(0, PolicyQueue::Ends::take).event;
                CHECK(event.connection >= connection);
                switch (event.kind) {
                case Event::Kind::up:
                    CHECK_FALSE(is_up);
                    is_up = true;
                    was_ready = false;
                    connection = event.connection;
                    break;
                case Event::Kind::ready:
                    CHECK(is_up);
                    CHECK_FALSE(was_ready);
                    was_ready = true;
                    break;
                case Event::Kind::down:
                    CHECK(is_up);
                    is_up = false;
                    connection = event.connection;
                    break;
                case Event::Kind::retry: CHECK_FALSE(is_up); break;
                case Event::Kind::gap: accounted += event.missing; break;
                default:
                    CHECK(is_up);
                    CHECK(event.connection == connection);
                    ++accounted;
                }
            }
            CHECK(accounted == connections);
            CHECK_FALSE(is_up);
            CHECK(connection == connections);
        }
    }
}

TEST_CASE(
    "PolicyQueue: the events of a link without a policy are bounded too while nothing arrives")
{
    Fixture f;
    for (int i = 0; i < 10'000; ++i) {
        f.push(Event::Kind::up, LinkId{1});
        f.push(Event::Kind::down, LinkId{1});
        for (int attempt = 0; attempt < i % 3; ++attempt)
            f.push(Event::Kind::retry, LinkId{1});
        f.push(Event::Kind::retry, LinkId{2});
    }
    CHECK(f.side.use().entries <= 2 * LinkQueue::max_run);
    bool is_up = false;
    std::size_t retries = 0;
    while (f.side.has_any()) {
        const auto event = *f.side.take(0, PolicyQueue::Ends::take).event;
        if (event.kind == Event::Kind::retry) {
            retries += event.link == LinkId{2};
            continue;
        }
        CHECK(is_up == (event.kind == Event::Kind::down));
        is_up = !is_up;
    }
    CHECK_FALSE(is_up);
    CHECK(retries >= LinkQueue::max_run / 2);
}

TEST_CASE("events: a row that is shortened does not repeat a `stale` that was taken")
{
    Fixture f;
    f.push(Event::Kind::up);
    f.push(Event::Kind::stale);
    CHECK(f.take_all() == std::vector<std::string>{"up", "stale"});
    using Kind = Event::Kind;
    for (int i = 0; i < 20; ++i)
        for (const auto kind :
             {Kind::ready, Kind::fresh, Kind::stale, Kind::down, Kind::up, Kind::stale})
            f.push(kind);
    bool is_stale = true;
    const auto words = f.take_all();
    CHECK(words.size() <= LinkQueue::max_run);
    for (const auto& word : words) {
        CHECK_FALSE((word == "stale" && is_stale));
        CHECK_FALSE((word == "fresh" && !is_stale));
        is_stale =
            word == "stale" || (is_stale && word != "fresh" && word != "up" && word != "down");
    }
}

} // namespace policy_queue_test
