// Random puts, events and takes on an inbox, against a model that is too simple to be wrong.
#include "queue/inbox.hpp"
#include "queue/overflow.hpp"

#include "manual_clock.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace inbox_model_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace detail;
using Policy = OverflowPolicy;
using Kind = Event::Kind;
using Lost = std::array<std::uint64_t, 5>; // by GapReason

std::optional<std::string_view> first_letter(const MessageView& message)
{
    if (message.size() == 0 || message.text().front() < 'a') // an upper-case one is no key
        return std::nullopt;
    return message.text().substr(0, 1);
}

/// All links in one vector, in order, without any thought of speed.
struct Model {
    struct Item {
        std::size_t link;
        Kind kind;
        std::uint32_t connection;
        std::string text{};
        TimePoint at{};
        std::uint64_t order = 0, replaced = 0; // messages: the higher, the later it arrived
        GapReason lost = GapReason::none;      // it is not there, but that was not told yet
        std::uint64_t place = 0;
        [[nodiscard]] bool is_live() const { return lost == GapReason::none; }
        [[nodiscard]] bool is_message() const { return kind == Kind::message && is_live(); }
    };
    struct Link {
        std::optional<Overflow> overflow; // empty: it uses the ring
        std::uint32_t connection = 0;
        bool is_up = false;
        std::uint64_t gap_at_end = 0; // its place; 0: there is none
    };

    [[nodiscard]] std::size_t cost(const Link& link, const std::string& text) const
    {
        const auto key = first_letter({{}, {}, std::as_bytes(std::span{text})});
        return entry_cost(text.size(), link.overflow->policy == Policy::conflate && key ? 1 : 0);
    }
    [[nodiscard]] bool fits(std::size_t link, const std::string& text, const Item* same) const
    {
        std::size_t messages = 0, bytes = cost(links[link], text);
        for (const auto& item : items) {
            if (item.link != link || !item.is_message() || &item == same)
                continue;
            ++messages;
            bytes += cost(links[link], item.text);
        }
        const auto& overflow = *links[link].overflow;
        return messages == 0
               || (messages < overflow.queue_messages && bytes <= overflow.queue_bytes);
    }
    [[nodiscard]] Item* find_same(std::size_t link, const std::string& text)
    {
        const auto key = first_letter({{}, {}, std::as_bytes(std::span{text})});
        if (links[link].overflow->policy != Policy::conflate || !key)
            return nullptr;
        for (auto item = items.rbegin(); item != items.rend(); ++item) {
            if (item->link != link)
                continue;
            if (item->kind == Kind::up || item->kind == Kind::down)
                return nullptr;
            if (item->is_message() && item->text.starts_with(*key))
                return &*item;
        }
        return nullptr;
    }
    [[nodiscard]] Item* oldest(std::size_t link)
    {
        Item* oldest = nullptr;
        for (auto& item : items)
            if (item.link == link && item.is_message() && (!oldest || item.order < oldest->order))
                oldest = &item;
        return oldest;
    }
    void add(Item item)
    {
        item.place = ++places;
        links[item.link].gap_at_end = 0; // it is before this one now
        items.push_back(std::move(item));
    }
    [[nodiscard]] bool has_live(std::size_t link, std::uint64_t behind) const
    {
        return std::any_of(items.begin(), items.end(), [&](const Item& item) {
            return item.link == link && item.is_live() && item.place > behind;
        });
    }
    void lose(Item& item, GapReason reason)
    {
        auto& gap_at_end = links[item.link].gap_at_end;
        if (gap_at_end == 0 && !has_live(item.link, item.place))
            gap_at_end = item.place;
        item.lost = reason;
        ++lost[static_cast<std::size_t>(reason)];
    }
    void expire(std::size_t link, TimePoint now)
    {
        if (const auto& overflow = links[link].overflow;
            overflow && overflow->max_age != Duration{})
            for (auto& item : items)
                if (item.link == link && item.is_message() && now - item.at > overflow->max_age)
                    lose(item, GapReason::too_old);
    }
    void append(std::size_t link, const std::string& text, TimePoint now)
    {
        ++received;
        add({link, Kind::message, links[link].connection, text, now, ++order});
    }
    LinkQueue::PutOutcome put(std::size_t link, const std::string& text, TimePoint now)
    {
        using Outcome = LinkQueue::PutOutcome;
        const auto policy = links[link].overflow->policy;
        if (!fits(link, text, find_same(link, text)))
            expire(link, now);
        while (!fits(link, text, find_same(link, text))) {
            if (policy == Policy::pause_reading || policy == Policy::fail)
                return policy == Policy::fail ? Outcome::failed : Outcome::no_room;
            if (policy == Policy::drop_newest) {
                const auto gap_at_end = links[link].gap_at_end;
                append(link, text, now);
                links[link].gap_at_end = gap_at_end;
                lose(items.back(), GapReason::dropped_newest);
                return Outcome::taken;
            }
            lose(*oldest(link), GapReason::dropped_oldest);
        }
        if (auto* same = find_same(link, text)) {
            ++received;
            ++lost[static_cast<std::size_t>(GapReason::conflated)];
            same->text = text;
            same->at = now;
            same->order = ++order;
            ++same->replaced;
        } else {
            append(link, text, now);
        }
        return Outcome::taken;
    }
    [[nodiscard]] bool want_room(std::size_t link, TimePoint now)
    {
        if (!fits(link, {}, nullptr))
            expire(link, now);
        return fits(link, {}, nullptr);
    }
    /// What is missing before the first of the link's items that are there; it is told now.
    Lost take_lost(std::size_t link)
    {
        Lost sum{};
        for (auto item = items.begin(); item != items.end();) {
            if (item->link == link && item->is_live())
                break;
            if (item->link != link) {
                ++item;
                continue;
            }
            ++sum[static_cast<std::size_t>(item->lost)];
            sum[static_cast<std::size_t>(GapReason::conflated)] += item->replaced;
            item = items.erase(item);
        }
        return sum;
    }
    /// The first that is there; of a link with an age limit only what is young enough.
    [[nodiscard]] Item* first(TimePoint now)
    {
        for (;;) {
            const auto item =
                std::find_if(items.begin(), items.end(), [](const Item& i) { return i.is_live(); });
            if (item == items.end()
                || std::any_of(links.begin(), links.end(), [&](const Link& link) {
                       return link.gap_at_end != 0 && link.gap_at_end < item->place;
                   }))
                return nullptr; // a gap at the end of a link comes first
            expire(item->link, now);
            if (item->is_live())
                return &*item;
        }
    }

    std::vector<Link> links;
    std::vector<Item> items;
    std::uint64_t order = 0, places = 0, received = 0, taken = 0;
    Lost lost{};
};

class Run {
public:
    explicit Run(std::uint32_t seed) : random_{seed}
    {
        inbox_.on_space = [this] { ++spaces_; };
        const Policy policies[] = {Policy::pause_reading, Policy::drop_oldest, Policy::drop_newest,
                                   Policy::conflate, Policy::fail};
        for (std::size_t i = 0; i < 4; ++i) {
            Model::Link link;
            LinkQueue* queue = nullptr;
            if (i != 0 && below(4) != 0) { // the first uses the ring, and one of four others
                Overflow overflow{.policy = policies[below(5)]};
                if (overflow.policy == Policy::conflate)
                    overflow.key = first_letter;
                if (below(2) == 0)
                    overflow.queue_messages = 1 + below(6);
                else
                    overflow.queue_bytes = entry_cost(300) * (1 + below(5));
                if (below(3) == 0)
                    overflow.max_age = 1ms * (1 + below(20));
                else if (below(3) == 0)
                    overflow.high = {.messages = 2 + below(3)};
                link.overflow = resolved(std::move(overflow), 300);
                queue = &inbox_.open_queue(LinkId{static_cast<std::uint32_t>(i)}, *link.overflow);
            }
            model_.links.push_back(std::move(link));
            queues_.push_back(queue);
            flap(i);
        }
    }
    void run()
    {
        const auto takes = 15 + below(60); // of a hundred steps; it keeps up, or not
        for (auto steps = 10 + below(50); steps != 0; --steps) {
            if (below(100) < takes)
                take();
            else if (const auto dice = below(20); dice == 0)
                flap(below(4));
            else if (dice < 4)
                clock_.time += 1ms * below(10);
            else
                put(below(4));
            check();
        }
        inbox_.publish();
        if (below(10) == 0)
            drain_by_two();
        while (!inbox_.ring().empty() || inbox_.beside().has_any())
            take_event();
        REQUIRE(model_.items.empty());
        check_wishes();
        inbox_.end();
        CHECK(inbox_.next_event({})->kind == Kind::stopped);
        CHECK(inbox_.next_event({}).error() == Error::stopped);
        CHECK(inbox_.receive({}).error() == Error::stopped);
        check();
        for (auto* queue : queues_)
            if (queue)
                inbox_.close_queue(*queue);
        CHECK(inbox_.beside().use().entries == 0);
    }

private:
    [[nodiscard]] std::uint32_t below(std::uint32_t limit) { return random_() % limit; }
    [[nodiscard]] bool is_plain(std::size_t link) const { return !queues_[link]; }

    void flap(std::size_t i)
    {
        auto& link = model_.links[i];
        const auto kind = link.is_up ? Kind::down : below(3) == 0 ? Kind::retry : Kind::up;
        link.is_up = kind == Kind::up;
        link.connection += link.is_up;
        inbox_.push_event({.kind = kind,
                           .link = LinkId{static_cast<std::uint32_t>(i)},
                           .failure = kind == Kind::down
                                          ? std::optional{Failure{Error::disconnected}}
                                          : std::nullopt,
                           .connection = link.connection,
                           .next_attempt = TimePoint::max()});
        model_.add({i, kind, link.connection, {}, clock_.time});
    }
    void put(std::size_t i)
    {
        if (!model_.links[i].is_up)
            return;
        const std::size_t sizes[] = {0, 1, 10, 97, 300};
        const auto size = sizes[below(5)]; // drawn first with every compiler
        std::string text(size, static_cast<char>('a' + below(4)));
        if (below(4) == 0 && !text.empty())
            text.front() = 'A';
        const auto bytes = std::as_bytes(std::span{text});
        const LinkId id{static_cast<std::uint32_t>(i)};
        if (is_plain(i)) {
            if (inbox_.push(id, MessageKind::text, bytes, model_.links[i].connection))
                return model_.append(i, text, clock_.time);
            REQUIRE(std::any_of(model_.items.begin(), model_.items.end(), [&](const auto& item) {
                return item.is_message() && is_plain(item.link);
            }));
            if (!inbox_.want_space(300))
                ring_wish_ = spaces_;
            return;
        }
        const auto outcome = inbox_.push_to(*queues_[i], MessageKind::text, bytes);
        REQUIRE(outcome == model_.put(i, text, clock_.time));
        if (outcome == LinkQueue::PutOutcome::no_room)
            wishes_[i] = spaces_;
        // Asking for little takes back no wish for more
        if (below(3) == 0 && model_.links[i].overflow->policy == Policy::pause_reading) {
            const bool has_room = inbox_.want_room_in(*queues_[i], 0);
            REQUIRE(has_room == model_.want_room(i, clock_.time));
            if (!has_room)
                wishes_[i] = spaces_;
        }
    }

    void take()
    {
        inbox_.publish();
        switch (below(3)) {
        case 0: take_event(); break;
        case 1: receive(); break;
        default: poll(1 + below(5));
        }
        check_wishes();
    }
    void take_event()
    {
        if (const auto event = inbox_.next_event({}))
            return check_event(*event);
        REQUIRE(model_.items.empty());
    }
    void receive()
    {
        auto message = inbox_.receive({});
        pass_silent();
        if (message)
            return check_message(message->view());
        check_end(message.error());
    }
    void poll(std::size_t limit)
    {
        std::size_t count = 0;
        auto handler = [&](const MessageView& message) {
            ++count;
            pass_silent();
            check_message(message);
        };
        const auto result = inbox_.poll(MessageHandler{handler}, limit);
        if (count < limit)
            pass_silent();
        if (!result)
            return check_end(result.error());
        REQUIRE(*result == count);
        REQUIRE(count <= limit);
        if (count < limit)
            (void)model_.first(clock_.time); // it has looked at the next, and left it
    }
    /// receive() and poll() pass over events at which they do not end.
    void pass_silent()
    {
        for (;;) {
            const auto* first = model_.first(clock_.time);
            if (!first || (first->kind != Kind::up && first->kind != Kind::retry)
                || is_gap_before(*first))
                return;
            model_.items.erase(model_.items.begin() + (first - model_.items.data()));
        }
    }
    [[nodiscard]] bool is_gap_before(const Model::Item& item) const
    {
        if (pending_[item.link] != Lost{})
            return true;
        for (const auto& other : model_.items) {
            if (&other == &item)
                return false;
            if (other.link == item.link && !other.is_live())
                return true;
        }
        return false;
    }
    void check_end(const Failure& failure)
    {
        if (failure == Error::timed_out) {
            REQUIRE(model_.items.empty());
            return;
        }
        if (failure == Error::gap) { // which says how many; the link is in its text
            const auto text = failure.message();
            for (std::size_t i = 0; i < 4; ++i)
                if (text.find("link " + std::to_string(i)) != std::string::npos)
                    return check_gap(i, text);
        }
        auto* first = model_.first(clock_.time);
        REQUIRE(first);
        REQUIRE(first->kind == Kind::down);
        model_.items.erase(model_.items.begin() + (first - model_.items.data()));
    }
    void check_gap(std::size_t link, const std::string& text)
    {
        collect_lost(link);
        for (std::size_t reason = 1; reason < 5; ++reason) {
            const auto missing = pending_[link][reason];
            const auto its_text = ": " + std::to_string(missing) + ", "
                                  + std::string{to_string(static_cast<GapReason>(reason))};
            if (missing != 0 && text.find(its_text) != std::string::npos) {
                return tell(link, reason);
            }
        }
        FAIL(text);
    }
    void check_event(const Event& event)
    {
        const auto link = static_cast<std::size_t>(event.link);
        switch (event.kind) {
        case Kind::high_water:
        case Kind::low_water: return;
        case Kind::gap: {
            (void)model_.first(clock_.time); // links before this one have lost what was too old
            collect_lost(link);
            const auto missing = pending_[link][static_cast<std::size_t>(event.gap_reason)];
            REQUIRE(event.missing == missing);
            REQUIRE(event.missing != 0);
            return tell(link, static_cast<std::size_t>(event.gap_reason));
        }
        case Kind::message:
            REQUIRE(event.at == event.message.arrival());
            REQUIRE(event.missing == 0);
            return check_message(event.message.view());
        default: break;
        }
        const auto* first = model_.first(clock_.time);
        REQUIRE(first);
        REQUIRE(first->link == link);
        REQUIRE(first->kind == event.kind);
        REQUIRE(first->connection == event.connection);
        REQUIRE(first->at == event.at);
        erase_first(*first);
    }
    void check_message(const MessageView& message)
    {
        const auto* first = model_.first(clock_.time);
        REQUIRE(first);
        REQUIRE(first->kind == Kind::message);
        REQUIRE(first->link == static_cast<std::size_t>(message.link()));
        REQUIRE(first->text == message.text());
        REQUIRE(first->connection == message.connection());
        REQUIRE(first->at == message.arrival());
        REQUIRE(first->replaced == message.replaced());
        ++model_.taken;
        erase_first(*first);
    }
    /// Before it everything that is missing of its link was told.
    void erase_first(const Model::Item& first)
    {
        REQUIRE_FALSE(is_gap_before(first));
        model_.items.erase(model_.items.begin() + (&first - model_.items.data()));
    }
    /// A gap of this link comes; of those for several reasons one is told after the other.
    void collect_lost(std::size_t link)
    {
        model_.expire(link, clock_.time);
        const auto more = model_.take_lost(link);
        for (std::size_t i = 0; i < more.size(); ++i)
            pending_[link][i] += more[i];
    }

    void tell(std::size_t link, std::size_t reason)
    {
        pending_[link][reason] = 0;
        if (pending_[link] == Lost{} && !model_.has_live(link, 0))
            model_.links[link].gap_at_end = 0;
    }

    /// Where nothing is left of a link that waited for room, or in the ring, the loop was told so.
    void check_wishes()
    {
        for (std::size_t i = 0; i < wishes_.size(); ++i) {
            const bool is_left = std::any_of(model_.items.begin(), model_.items.end(),
                                             [i](const auto& item) { return item.link == i; });
            if (!wishes_[i] || is_left || pending_[i] != Lost{})
                continue;
            REQUIRE(spaces_ > *wishes_[i]);
            wishes_[i].reset();
        }
        if (!ring_wish_ || !inbox_.ring().empty())
            return;
        REQUIRE(spaces_ > *ring_wish_);
        ring_wish_.reset();
    }
    void check()
    {
        inbox_.publish();
        const auto counted = inbox_.counts();
        std::uint64_t queued = 0, lost = 0;
        std::optional<TimePoint> oldest;
        for (const auto& item : model_.items)
            if (item.is_message()) {
                ++queued;
                oldest = oldest ? std::min(*oldest, item.at) : item.at;
            }
        for (const auto messages : counted.lost)
            lost += messages;
        REQUIRE(counted.received == model_.received);
        REQUIRE(counted.taken == model_.taken);
        REQUIRE(counted.lost == model_.lost);
        REQUIRE(counted.queued == queued);
        REQUIRE(counted.received == counted.taken + counted.queued + lost);
        REQUIRE(inbox_.oldest_age() == (oldest ? clock_.time - *oldest : Duration{}));
        std::size_t bound = 0;
        for (const auto& link : model_.links)
            if (link.overflow)
                bound += std::max(link.overflow->queue_bytes, entry_cost(300, 1));
        REQUIRE(inbox_.beside().use().bytes <= bound);
    }
    /// Each message comes to one of two receivers, in order, and neither hears `stopped` before.
    void drain_by_two()
    {
        inbox_.end();
        std::array<std::vector<std::string>, 2> texts;
        const auto receive = [this](std::vector<std::string>& its_texts) {
            for (;;) {
                auto message = inbox_.receive(10s);
                if (message)
                    its_texts.emplace_back(message->text());
                else if (message.error() == Error::stopped)
                    return;
            }
        };
        std::thread other{[&] { receive(texts[1]); }};
        receive(texts[0]);
        CHECK(inbox_.counts().queued == 0);
        other.join();
        std::uint64_t live = 0;
        for (bool is_left = true; is_left;) {
            while (auto* first = model_.first(clock_.time)) {
                live += first->kind == Kind::message;
                model_.items.erase(model_.items.begin() + (first - model_.items.data()));
            }
            is_left = false;
            for (auto& link : model_.links)
                is_left = std::exchange(link.gap_at_end, 0) != 0 || is_left;
        }
        REQUIRE(texts[0].size() + texts[1].size() == live);
        model_.items.clear();
        model_.taken += live;
    }

    std::mt19937 random_;
    ManualClock clock_;
    Inbox inbox_{{.bytes = 8192, .messages = 10}, {}, clock_};
    Model model_;
    std::vector<LinkQueue*> queues_;
    std::array<Lost, 4> pending_{}; // by link: missing and not told, before all that is there
    std::atomic<std::uint64_t> spaces_{0};
    std::array<std::optional<std::uint64_t>, 4>
        wishes_{}; // by link: how many spaces there were then
    std::optional<std::uint64_t> ring_wish_{};
};

TEST_CASE("Inbox: does as its model does, with every policy and whatever happens")
{
    for (std::uint32_t seed = 1; seed <= 10'000; ++seed) {
        INFO("seed ", seed);
        Run{seed}.run();
    }
}

} // namespace inbox_model_test
