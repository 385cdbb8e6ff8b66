#include "queue/client_queue.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace client_queue_test {

using namespace sidecar;
using namespace std::chrono_literals;
using detail::ClientQueue, detail::SharedMessage;
using Policy = OverflowPolicy;
using Push = ClientQueue::Push;
using Texts = std::vector<std::string>;

constexpr std::uint32_t here = 1;
constexpr TimePoint now{};

/// "k1=7" has the key "k1"; a text without '=' has none.
std::optional<std::string_view> key_of(std::string_view text)
{
    const auto equals = text.find('=');
    return equals == text.npos ? std::nullopt : std::optional{text.substr(0, equals)};
}

std::shared_ptr<SharedMessage> message_of(std::string_view text)
{
    return std::make_shared<SharedMessage>(MessageKind::text, std::as_bytes(std::span{text}));
}

/// The texts of those being written, as a batch reads them: twice each, by their positions.
Texts writing(const ClientQueue& queue)
{
    Texts texts;
    if (!queue.is_writing())
        return texts;
    for (auto at = queue.writing_begin(); at != queue.writing_end();) {
        auto again = at;
        const auto& message = queue.read(at);
        if (&queue.read(again) != &message || again != at)
            FAIL("reading the same position once more gives another message");
        texts.emplace_back(message.view().text());
    }
    return texts;
}

struct Fixture {
    explicit Fixture(ClientOverflow its_overflow,
                     QueueLimits limits = {.bytes = 4096, .messages = 4})
        : overflow{std::move(its_overflow)}, queue{limits, overflow}
    {
    }
    /// As a broadcast does it.
    void push(std::string_view text)
    {
        const auto key = overflow.policy == Policy::conflate ? key_of(text) : std::nullopt;
        if (queue.push({message_of(text)}, key) == Push::full)
            queue.drop_newest();
    }
    /// As the outbox does it before each batch.
    void put_gap_text()
    {
        if (const auto missing = queue.take_gap())
            queue.push_front(message_of(overflow.on_gap(missing)), missing);
    }
    Texts take()
    {
        put_gap_text();
        (void)queue.take(here, now);
        return writing(queue);
    }
    Texts write_all()
    {
        Texts all;
        while (queue.has_waiting()) {
            const auto batch = take();
            all.insert(all.end(), batch.begin(), batch.end());
            queue.written(SIZE_MAX);
        }
        return all;
    }
    void check_counts() const
    {
        const auto& counts = queue.counts();
        CHECK(counts.accepted
              == counts.sent + counts.dropped + counts.conflated + counts.late + counts.lost
                     + counts.queued);
    }

    const ClientOverflow overflow;
    ClientQueue queue;
};

std::string gap(std::uint64_t missing) { return fmt::format("gap {}", missing); }
const ClientOverflow conflates{.policy = Policy::conflate, .key = [](const MessageView& message) {
                                   return key_of(message.text());
                               }};

TEST_CASE("client queue: what each policy leaves of eight messages in room for four")
{
    struct Row {
        const char* name;
        ClientOverflow overflow;
        Texts expected;
        std::uint64_t dropped, conflated;
    };
    const Row rows[] = {
        {"drop oldest", {}, {"b=5", "a=6", "c=7", "d"}, 4, 0},
        {"drop oldest, with text", {.on_gap = gap}, {"gap 4", "b=5", "a=6", "c=7", "d"}, 4, 0},
        {"drop newest",
         {.policy = Policy::drop_newest, .on_gap = gap},
         {"a=1", "b=2", "a=3", "c=4", "gap 4"},
         4,
         0},
        {"fail", {.policy = Policy::fail}, {"a=1", "b=2", "a=3", "c=4"}, 4, 0},
        {"conflate", conflates, {"a=6", "b=5", "c=7", "d"}, 0, 4},
    };
    for (const auto& row : rows) {
        CAPTURE(row.name);
        Fixture test{row.overflow};
        for (const auto* text : {"a=1", "b=2", "a=3", "c=4", "b=5", "a=6", "c=7", "d"})
            test.push(text);
        CHECK(test.write_all() == row.expected);
        CHECK(test.queue.counts().dropped == row.dropped);
        CHECK(test.queue.counts().conflated == row.conflated);
        CHECK(test.queue.empty());
        test.check_counts();
    }
}

TEST_CASE("client queue: half of it is for what comes while a batch is being written")
{
    Fixture test{conflates};
    for (const auto* text : {"a=1", "b=1", "c=1", "d=1"})
        test.push(text);
    CHECK(test.take() == Texts{"a=1", "b=1"});
    for (const auto* text : {"c=2", "d=2", "a=2", "b=2"})
        test.push(text);
    CHECK(writing(test.queue) == Texts{"a=1", "b=1"}); // not touched
    test.queue.written(2);
    CHECK(test.write_all() == Texts{"a=2", "b=2"}); // c and d made room
    CHECK(test.queue.counts().dropped == 2);
    test.check_counts();
}

TEST_CASE("client queue: the newest has a place although what is being written fills the queue")
{
    Fixture test{conflates, {.bytes = 4096, .messages = 1}};
    test.push("a=1");
    CHECK(test.take() == Texts{"a=1"});
    for (const auto* text : {"b=1", "a=2", "a=3"})
        test.push(text);
    CHECK(test.queue.counts().queued == 2);
    test.queue.written(1);
    CHECK(test.write_all() == Texts{"a=3"});
    test.check_counts();
}

TEST_CASE(
    "client queue: a replaced message that has grown goes to the end, and keeps its key there")
{
    Fixture test{conflates, {.bytes = 800, .messages = 4}};
    const auto wide = "a=" + std::string(400, 'x');
    for (const auto* text : {"z", "a=1", "b=1", "c=1"})
        test.push(text);
    test.push(wide); // makes room: z goes, and a=1, which it replaces
    CHECK(test.take() == Texts{"b=1", "c=1"});
    test.queue.written(2);
    test.push("a=2");
    CHECK(test.write_all() == Texts{"a=2"});
    CHECK(test.queue.counts().conflated == 2);
    test.check_counts();
}

TEST_CASE(
    "client queue: the text of a gap that is dropped again is no message, and its gap is kept")
{
    Fixture test{{.on_gap = gap}, {.bytes = 4096, .messages = 2}};
    for (const auto* text : {"1", "2", "3"})
        test.push(text);
    CHECK(test.take() == Texts{"gap 1"});
    test.queue.put_back(0); // the rate limit
    for (const auto* text : {"4", "5"})
        test.push(text);
    CHECK(test.queue.counts().dropped == 3);
    CHECK(test.write_all() == Texts{"gap 3", "4", "5"});
    test.check_counts();
}

TEST_CASE("client queue: what is put back gives way to a newer one of its key")
{
    Fixture test{conflates, {.bytes = 4096, .messages = 8}};
    for (const auto* text : {"a=1", "b=1", "c=1", "d=1"})
        test.push(text);
    CHECK(test.take() == Texts{"a=1", "b=1", "c=1", "d=1"});
    test.push("b=2");
    const auto mark = test.queue.next_position();
    test.queue.put_back(2);
    CHECK(writing(test.queue) == Texts{"a=1"});
    CHECK_FALSE(test.queue.is_past(mark));
    test.queue.written(1);
    test.push("c=2");
    CHECK(test.write_all() == Texts{"c=2", "d=1", "b=2"});
    CHECK(test.queue.is_past(mark));
    test.check_counts();
}

TEST_CASE("client queue: `fail` is due when each push since fail_after found it full")
{
    Fixture test{{.policy = Policy::fail, .fail_after = 2s}, {.bytes = 4096, .messages = 1}};
    test.push("1");
    test.push("2");
    CHECK_FALSE(test.queue.is_too_slow(now));
    CHECK_FALSE(test.queue.is_too_slow(now + 1999ms));
    CHECK(test.queue.is_too_slow(now + 2s));
    (void)test.take();
    test.queue.written(1);
    test.push("3");
    CHECK_FALSE(test.queue.is_too_slow(now + 9s));
}

// --- the model

/// The same, as simply as it can be said: no positions, no keys apart.
struct Model {
    struct Entry {
        std::string text{};
        std::uint64_t order = 0; // of its push; kept when it is replaced
        std::uint64_t missing = 0;
        TimePoint deadline = TimePoint::max();
        std::uint32_t connection = 0;
        bool is_message = true; // false: a gap, or its text
    };
    using Entries = std::vector<Entry>;

    explicit Model(unsigned seed) : random{seed}
    {
        constexpr Policy policies[] = {Policy::drop_oldest, Policy::drop_newest, Policy::conflate,
                                       Policy::fail};
        overflow.policy = policies[draw(4)];
        if (draw(2) != 0)
            overflow.on_gap = gap;
        limits = {.bytes = 600 + draw(3000), .messages = 1 + draw(9)};
        queue.emplace(limits, overflow);
    }
    std::uint64_t draw(std::uint64_t below) { return random() % below; }
    [[nodiscard]] std::uint64_t messages() const
    {
        return static_cast<std::uint64_t>(std::count_if(waiting.begin(), waiting.end(), is_message)
                                          + std::count_if(out.begin(), out.end(), is_message));
    }
    [[nodiscard]] std::uint64_t bytes() const
    {
        std::uint64_t sum = 0;
        for (const auto* list : {&waiting, &out})
            for (const auto& entry : *list)
                sum += entry.is_message ? entry.text.size() : 0;
        return sum;
    }
    static bool is_message(const Entry& entry) { return entry.is_message; }
    [[nodiscard]] bool has_room(std::size_t size) const
    {
        return messages() == 0
               || (messages() < limits.messages
                   && bytes() + size + (messages() + 1) * 128 <= limits.bytes);
    }

    // --- operations
    void push()
    {
        Entry entry{.text = fmt::format("{}={}.", draw(4), ++pushed)};
        entry.text.resize(entry.text.size() + (draw(4) == 0 ? draw(limits.bytes / 2) : draw(40)),
                          'x');
        if (draw(5) == 0)
            entry.text[1] = ' '; // no key
        if (draw(8) == 0)
            entry.deadline = time + 1ms * draw(10);
        if (draw(8) == 0)
            entry.connection = 1 + static_cast<std::uint32_t>(draw(2));
        const auto key = overflow.policy == Policy::conflate ? key_of(entry.text) : std::nullopt;
        const auto result =
            queue->push({message_of(entry.text), entry.deadline, entry.connection}, key);
        if (key) {
            const auto at = std::find_if(waiting.begin(), waiting.end(), [&](const auto& other) {
                return other.is_message && key_of(other.text) == key;
            });
            if (at != waiting.end()) {
                ++counts.conflated;
                const auto used = bytes() - at->text.size() + messages() * 128;
                if (messages() <= 1 || used + entry.text.size() <= limits.bytes) {
                    entry.order = at->order;
                    *at = entry;
                    ++counts.accepted;
                    REQUIRE(result == Push::queued);
                    return;
                }
                waiting.erase(at);
            }
        }
        const bool drops_oldest =
            overflow.policy == Policy::drop_oldest || overflow.policy == Policy::conflate;
        if (drops_oldest)
            make_room(entry.text.size());
        else if (!has_room(entry.text.size())) {
            REQUIRE(result == Push::full);
            queue->drop_newest();
            ++counts.accepted;
            ++counts.dropped;
            if (overflow.on_gap && (waiting.empty() || !is_gap(waiting.back())))
                waiting.push_back({.text = {}, .order = ++order, .is_message = false});
            if (overflow.on_gap)
                ++waiting.back().missing;
            return;
        }
        REQUIRE(result == Push::queued);
        ++counts.accepted;
        entry.order = ++order;
        waiting.push_back(std::move(entry));
    }
    void make_room(std::size_t size)
    {
        std::uint64_t missing = 0, last = 0;
        while (!has_room(size) && !waiting.empty()) {
            const auto& front = waiting.front();
            missing += front.missing + (front.is_message ? 1 : 0);
            counts.dropped += front.is_message ? 1 : 0;
            last = front.order;
            waiting.erase(waiting.begin());
        }
        if (missing != 0 && overflow.on_gap)
            waiting.insert(waiting.begin(),
                           {.text = {}, .order = last, .missing = missing, .is_message = false});
    }
    static bool is_gap(const Entry& entry) { return !entry.is_message && entry.text.empty(); }
    /// As the outbox does it: the gap's text, then messages up to the next gap.
    void take()
    {
        if (!out.empty())
            return;
        const bool has_gap = !waiting.empty() && is_gap(waiting.front());
        const auto missing = queue->take_gap();
        REQUIRE(missing == (has_gap ? waiting.front().missing : 0));
        if (has_gap) {
            waiting.front().text = gap(missing);
            queue->push_front(message_of(gap(missing)), missing);
        }
        (void)queue->take(here, time);
        const auto most = std::max<std::size_t>(limits.messages / 2, 1);
        std::size_t taken_bytes = 0;
        while (!waiting.empty() && out.size() < most && taken_bytes < limits.bytes / 2
               && !is_gap(waiting.front())) {
            auto entry = std::move(waiting.front());
            waiting.erase(waiting.begin());
            const bool is_late = entry.deadline <= time;
            if (is_late || (entry.connection != 0 && entry.connection != here)) {
                ++(is_late ? counts.late : counts.lost);
                continue;
            }
            taken_bytes += entry.text.size() + 128;
            out.push_back(std::move(entry));
        }
    }
    void put_back()
    {
        if (out.empty())
            return;
        const auto keep = draw(out.size() + 1);
        auto position = queue->writing_begin();
        for (std::uint64_t i = 0; i < keep; ++i)
            (void)queue->read(position);
        queue->put_back(keep == 0 ? 0 : position);
        for (; out.size() > keep; out.pop_back()) {
            const auto key = overflow.policy == Policy::conflate && out.back().is_message
                                 ? key_of(out.back().text)
                                 : std::nullopt;
            const bool is_old =
                key && std::any_of(waiting.begin(), waiting.end(), [&](const auto& other) {
                    return other.is_message && key_of(other.text) == key;
                });
            counts.conflated += is_old ? 1 : 0;
            if (!is_old)
                waiting.insert(waiting.begin(), std::move(out.back()));
        }
    }
    void write()
    {
        const auto count = draw(out.size() + 1);
        queue->written(count);
        for (std::uint64_t i = 0; i < count; ++i) {
            counts.sent += out[i].is_message ? 1 : 0;
            counts.sent_bytes += out[i].is_message ? out[i].text.size() : 0;
            if (out[i].is_message) {
                REQUIRE(out[i].order > last_sent); // in order, and none twice
                last_sent = out[i].order;
            }
        }
        out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count));
    }
    void mark()
    {
        if (draw(2) == 0) {
            queue_mark = queue->next_position();
            order_mark = order;
        }
    }
    void end()
    {
        (void)queue->lose_writing();
        (void)queue->lose_waiting();
        counts.lost += messages();
        out.clear();
        waiting.clear();
    }
    void step()
    {
        switch (draw(12)) {
        case 0:
        case 1: take(); break;
        case 2: put_back(); break;
        case 3:
        case 4: write(); break;
        case 5: mark(); break;
        case 6:
            if (draw(100) == 0)
                end();
            break;
        case 7: time += 1ms; break;
        default: push(); break;
        }
        check();
    }
    void check()
    {
        const auto& real = queue->counts();
        const auto of = [](const ClientQueue::Counts& each) {
            return std::array{each.accepted,  each.sent, each.sent_bytes, each.dropped,
                              each.conflated, each.late, each.lost};
        };
        const bool counts_agree = of(real) == of(counts) && real.queued == messages()
                                  && real.queued_bytes == bytes()
                                  && real.accepted
                                         == real.sent + real.dropped + real.conflated + real.late
                                                + real.lost + real.queued;
        REQUIRE(counts_agree); // a REQUIRE costs more than a step
        const bool is_bounded = real.queued <= limits.messages + 1;
        const bool has_same =
            queue->has_waiting() == !waiting.empty() && queue->is_writing() == !out.empty();
        REQUIRE((is_bounded && has_same));
        Texts texts;
        for (const auto& entry : out)
            texts.push_back(entry.text);
        REQUIRE(writing(*queue) == texts);
        const auto is_before = [this](const Entry& entry) { return entry.order <= order_mark; };
        const auto is_open = [&](const Entry& entry) {
            return entry.is_message && is_before(entry);
        };
        if (std::any_of(waiting.begin(), waiting.end(), is_open)
            || std::any_of(out.begin(), out.end(), is_open))
            REQUIRE_FALSE(queue->is_past(queue_mark));
        if (std::none_of(waiting.begin(), waiting.end(), is_before)
            && std::none_of(out.begin(), out.end(), is_before))
            REQUIRE(queue->is_past(queue_mark));
    }

    std::minstd_rand random;
    ClientOverflow overflow;
    QueueLimits limits;
    std::optional<ClientQueue> queue;
    TimePoint time{};
    Entries waiting, out;
    std::uint64_t pushed = 0, order = 0, last_sent = 0, queue_mark = 0, order_mark = 0;
    ClientQueue::Counts counts;
};

TEST_CASE("client queue: 10,000 random runs agree with the model")
{
    for (unsigned seed = 1; seed <= 10'000; ++seed) {
        CAPTURE(seed);
        Model model{seed};
        for (int i = 0; i < 120; ++i) {
            CAPTURE(i);
            model.step();
        }
    }
}

} // namespace client_queue_test
