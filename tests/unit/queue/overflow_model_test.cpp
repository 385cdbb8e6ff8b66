// Random puts, takes and policies, against a model that is too simple to be wrong.
#include "queue/overflow.hpp"
#include "queue/side_queue.hpp"

#include "manual_clock.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace overflow_model_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace detail;
using Policy = OverflowPolicy;
using What = SideEntry::What;

std::optional<std::string_view> first_letter(const MessageView& message)
{
    // An upper-case one is no key
    if (message.size() == 0 || message.text().front() < 'a')
        return std::nullopt;
    return message.text().substr(0, 1);
}

struct Item {
    What what;
    std::string text;
    std::uint64_t missing;
    GapReason reason;
    TimePoint at;
    bool operator==(const Item&) const = default;
};

/// One link, in a vector, without any thought of speed.
class Model {
public:
    explicit Model(Overflow overflow) : overflow_{std::move(overflow)} {}

    SideQueue::Put put(const std::string& text, TimePoint now)
    {
        for (;;) {
            const auto same = find_same(text);
            if (!fits(text, same)) {
                if (expire(now))
                    continue;
                const auto oldest = find_oldest();
                const bool drops_oldest =
                    overflow_.policy == Policy::drop_oldest || overflow_.policy == Policy::conflate;
                if (overflow_.policy == Policy::pause_reading)
                    return SideQueue::Put::no_room;
                if (overflow_.policy == Policy::fail)
                    return SideQueue::Put::failed;
                if (drops_oldest && oldest != items.size()) {
                    lose(oldest, GapReason::dropped_oldest);
                    continue;
                }
                ++received;
                items.push_back({What::message, text, 0, GapReason::none, now});
                lose(items.size() - 1, GapReason::dropped_newest);
                return SideQueue::Put::taken;
            }
            ++received;
            if (same != items.size()) {
                ++lost[static_cast<std::size_t>(GapReason::conflated)];
                items[same].text = text;
                items[same].at = now;
                ++items[same].missing;
            } else {
                items.push_back({What::message, text, 0, GapReason::none, now});
            }
            return SideQueue::Put::taken;
        }
    }
    void seam() { items.push_back({What::event, "down", 0, GapReason::none, {}}); }
    /// What comes next; the queue must have something.
    Item take(TimePoint now)
    {
        if (items.front().what != What::event || find_oldest() != items.size())
            (void)expire(now);
        auto item = items.front();
        items.erase(items.begin());
        taken += item.what == What::message;
        return item;
    }
    [[nodiscard]] std::uint64_t queued() const
    {
        std::uint64_t count = 0;
        for (const auto& item : items)
            count += item.what == What::message;
        return count;
    }

    std::vector<Item> items;
    std::uint64_t received = 0, taken = 0;
    std::array<std::uint64_t, 5> lost{};

private:
    [[nodiscard]] std::size_t find_oldest() const
    {
        std::size_t index = 0;
        while (index != items.size() && items[index].what != What::message)
            ++index;
        return index;
    }
    [[nodiscard]] std::size_t find_same(const std::string& text) const
    {
        const auto key = first_letter(MessageView{{}, {}, std::as_bytes(std::span{text})});
        if (overflow_.policy != Policy::conflate || !key)
            return items.size();
        for (auto index = items.size(); index-- != 0 && items[index].what != What::event;)
            if (items[index].what == What::message && items[index].text.starts_with(*key))
                return index;
        return items.size();
    }
    [[nodiscard]] bool fits(const std::string& text, std::size_t same) const
    {
        std::size_t messages = 1, bytes = side_entry_cost(text.size());
        for (std::size_t index = 0; index != items.size(); ++index) {
            if (index == same || items[index].what == What::event)
                continue;
            const bool is_gap = items[index].what == What::gap;
            messages += !is_gap;
            bytes += is_gap ? sizeof(SideEntry) : side_entry_cost(items[index].text.size());
        }
        return messages == 1
               || (messages <= overflow_.queue_messages && bytes <= overflow_.queue_bytes);
    }
    bool expire(TimePoint now)
    {
        bool any = false;
        for (auto oldest = find_oldest(); overflow_.max_age != Duration{} && oldest != items.size()
                                          && now - items[oldest].at > overflow_.max_age;
             oldest = find_oldest()) {
            lose(oldest, GapReason::too_old);
            any = true;
        }
        return any;
    }
    void lose(std::size_t index, GapReason reason)
    {
        ++lost[static_cast<std::size_t>(reason)];
        if (const auto replaced = items[index].missing; replaced != 0) {
            const Item gap{What::gap, {}, replaced, GapReason::conflated, items[index].at};
            items.insert(items.begin() + static_cast<std::ptrdiff_t>(index++), gap);
        }
        auto begin = index, end = index + 1;
        while (begin != 0 && items[begin - 1].what == What::gap)
            --begin;
        while (end != items.size() && items[end].what == What::gap)
            ++end;
        items[index] = {What::gap, {}, 1, reason, items[index].at};
        for (auto i = begin; i < end; ++i)
            for (auto j = end; --j > i;)
                if (items[j].reason == items[i].reason) {
                    items[i].missing += items[j].missing;
                    items.erase(items.begin() + static_cast<std::ptrdiff_t>(j));
                    --end;
                }
    }

    const Overflow overflow_;
};

class Trial {
public:
    Trial(Overflow overflow, unsigned seed)
        : overflow_{resolved(std::move(overflow), 1000)},
          random_{seed},
          queue_{side_.open(LinkId{1}, overflow_)},
          model_{overflow_}
    {
    }
    void run(int steps)
    {
        for (int step = 0; step < steps; ++step) {
            const auto dice = random_() % 100;
            // Busy and idle times in turn
            const unsigned takes = step / 200 % 2 == 0 ? 25 : 70;
            if (dice < takes)
                take();
            else if (dice < takes + 2)
                seam();
            else if (dice < takes + 7)
                clock_.time += std::chrono::milliseconds{random_() % 20};
            else
                put();
            check();
        }
        while (side_.has_any())
            take();
        CHECK(model_.items.empty());
        check();
    }

private:
    void put()
    {
        const std::size_t sizes[] = {0, 1, 10, 64, 65, 200, 1000};
        std::string text(sizes[random_() % 7], static_cast<char>('a' + random_() % 5));
        if (random_() % 4 == 0 && !text.empty())
            text.front() = 'A';
        const auto put =
            side_.put(queue_, 0, MessageKind::text, std::as_bytes(std::span{text}), clock_.time);
        REQUIRE(put == model_.put(text, clock_.time));
    }
    void seam()
    {
        side_.push(LinkEvent{0, Event::Kind::down, LinkId{1}, std::nullopt});
        model_.seam();
    }
    void take()
    {
        REQUIRE(side_.has_any() == !model_.items.empty());
        if (model_.items.empty())
            return;
        const auto taken = side_.take(0, SideQueue::Ends::take);
        REQUIRE(taken.entry);
        const auto expected = model_.take(clock_.time);
        REQUIRE(taken.entry->what == expected.what);
        if (expected.what == What::event)
            return;
        REQUIRE(taken.entry->missing == expected.missing);
        REQUIRE(taken.entry->reason == expected.reason);
        if (expected.what == What::gap)
            return;
        REQUIRE(taken.entry->view().text() == expected.text);
        REQUIRE(taken.entry->at == expected.at);
    }
    void check()
    {
        const auto counts = side_.counts();
        REQUIRE(counts.received == model_.received);
        REQUIRE(counts.taken == model_.taken);
        REQUIRE(counts.lost == model_.lost);
        REQUIRE(counts.queued() == model_.queued());
        REQUIRE(counts.received == counts.taken + counts.queued() + counts.lost_messages());
    }

    const Overflow overflow_;
    std::mt19937 random_;
    ManualClock clock_;
    SideQueue side_{clock_};
    LinkQueue& queue_;
    Model model_;
};

TEST_CASE("SideQueue: does as its model does, with every policy and whatever happens")
{
    const Policy policies[] = {Policy::pause_reading, Policy::drop_oldest, Policy::drop_newest,
                               Policy::conflate, Policy::fail};
    for (const auto policy : policies)
        for (const bool is_by_bytes : {false, true})
            for (const Duration max_age : {Duration{}, Duration{30ms}})
                for (unsigned seed = 1; seed <= 5; ++seed) {
                    INFO(to_string(policy), " by bytes ", is_by_bytes, " max age ", max_age.count(),
                         " seed ", seed);
                    Overflow overflow{.policy = policy,
                                      .queue_bytes = is_by_bytes ? 4 * side_entry_cost(1000) : 0,
                                      .queue_messages = is_by_bytes ? 0u : 7u,
                                      .max_age = max_age};
                    if (policy == Policy::conflate)
                        overflow.key = first_letter;
                    Trial{std::move(overflow), seed}.run(2000);
                }
}

} // namespace overflow_model_test
