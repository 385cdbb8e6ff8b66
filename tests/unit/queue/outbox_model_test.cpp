// The outbox against a plain model of it, over thousands of random runs.
#include "queue/outbox.hpp"

#include "manual_clock.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace outbox_model_test {

using namespace sidecar;
using namespace std::chrono_literals;

using detail::Outbox;
using detail::PriorityMessage;
using detail::SendGate;
using Origin = PriorityMessage::Origin;
using Step = PriorityMessage::Step;

/// A message as the model sees it. `place`: how many ordinary messages were accepted before it.
struct Sent {
    std::uint64_t id = 0;
    std::string text;
    std::uint32_t connection = 0;
    TimePoint deadline = TimePoint::max();
    Origin origin = Origin::application;
    std::uint64_t place = 0, number = 0;
};

struct OutboxModel {
    explicit OutboxModel(unsigned seed)
        : random{seed}, limits{.bytes = seed % 3 == 0 ? 4096u : 16384u, .messages = seed % 5 * 8}
    {
        open();
    }
    std::uint64_t draw(std::uint64_t below) { return random() % below; }
    bool one_in(std::uint64_t count) { return draw(count) == 0; }

    // --- operations
    void open()
    {
        outbox.open(++connection);
        is_open = is_connected = true;
        gate = SendGate::session;
        outbox.set_gate(gate);
    }
    void push()
    {
        auto sent = make(one_in(10) ? draw(5000) : draw(300));
        Outbox::Sender sender;
        if (one_in(5))
            sender.connection = sent.connection = connection;
        if (one_in(5))
            sender.deadline = sent.deadline = clock.time + 1ms * draw(10);
        if (one_in(4))
            sender.priority = Priority::high;
        const bool is_control = sender.priority == Priority::high;
        const auto push = outbox.push(MessageKind::text, bytes(sent), sender);
        if (sender.connection && !is_connected) {
            CHECK(push == Outbox::Push::wrong_connection);
            return;
        }
        if (!is_open)
            CHECK(push == Outbox::Push::closed);
        const bool is_too_big = sent.text.size() > outbox.largest_message();
        CHECK((push == Outbox::Push::too_big) == (is_open && is_too_big));
        if (!is_open || is_too_big)
            return;
        const auto limit = is_control ? 64 : limits.messages;
        if (limit != 0 && (is_control ? control_count() : ordinary.size()) >= limit)
            CHECK(push == Outbox::Push::full);
        if (is_control ? control_count() == 0 : ordinary.empty() && !(out && !is_lane_out))
            CHECK(push == Outbox::Push::queued);
        if (push != Outbox::Push::queued)
            return;
        open_ids.insert(sent.id);
        ++accepted;
        if (is_control) {
            sent.number = ++last_number;
            lane.push_back(sent);
        } else {
            sent.place = ordinary_count++;
            ordinary.push_back(sent);
        }
    }
    void push_own(Origin origin)
    {
        auto sent = make(draw(100));
        sent.origin = origin;
        const bool keeps_place = origin == Origin::subscription && one_in(2);
        sent.place = keeps_place ? ordinary_count : 0;
        sent.number = ++last_number;
        const auto number = outbox.push_priority(
            {.message = Message{MessageView{{}, MessageKind::text, bytes(sent)}},
             .origin = origin,
             .on_step = [this](std::uint64_t n, Step step) { steps[n] = step; }},
            keeps_place);
        CHECK(number == sent.number);
        lane.push_back(sent);
    }
    void withdraw()
    {
        const auto number = draw(last_number + 1);
        const auto at = std::find_if(lane.begin(), lane.end(), [&](const Sent& sent) {
            return sent.number == number && sent.origin != Origin::application;
        });
        if (at == lane.end())
            return;
        CHECK(outbox.withdraw(number));
        lane.erase(at);
    }
    void end(bool keep)
    {
        outbox.end_connection(keep);
        is_open = is_open && keep;
        is_connected = false;
        gate = SendGate::shut;
        ends_with = keep && ends_with.value_or(true);
        if (!out)
            run_until_idle();
    }
    void take()
    {
        const auto expected = next();
        const auto batch = outbox.next_batch();
        REQUIRE(static_cast<bool>(batch) == !expected.empty());
        if (!batch) {
            if (outbox.prepare_sleep())
                CHECK(next().empty());
            return;
        }
        check_same(*batch, expected);
        const auto part = one_in(3) ? 1 + draw(expected.size()) : expected.size();
        auto end = batch->begin();
        for (std::size_t i = 0; i < part; ++i)
            ++end;
        if (one_in(6))
            return outbox.put_back();
        batch_ = batch->until(end);
        outbox.begin_write(*batch_);
        out = std::vector<Sent>(expected.begin(), expected.begin() + static_cast<long>(part));
        is_lane_out = expected.front().number != 0;
        was_marked = false;
        auto& from = is_lane_out ? lane : ordinary;
        for (const auto& sent : *out)
            std::erase_if(from, [&](const Sent& one) { return one.id == sent.id; });
        for (const auto& sent : *out)
            if (sent.number != 0 && sent.origin != Origin::application)
                CHECK(steps[sent.number] == Step::writing);
    }
    void go_on_writing()
    {
        check_same(*batch_, *out);
        if (one_in(2) && !out->empty()) {
            const auto count = 1 + draw(out->size());
            batch_->mark_written(count);
            record_written(count);
            was_marked = true;
            if (!out->empty()) {
                const auto left = position_of_rest();
                batch_ = Batch{outbox, left, batch_->end_position()};
                check_same(*batch_, *out);
                return;
            }
        }
        if (one_in(2)) {
            outbox.finish(*batch_);
            record_written(out->size());
        } else {
            const bool is_rest_unwritten = one_in(3);
            if (is_rest_unwritten)
                batch_->mark_rest_unwritten();
            outbox.give_up();
            const auto lost = is_rest_unwritten ? 0
                              : was_marked      ? std::min<std::size_t>(1, out->size())
                                                : out->size();
            for (std::size_t i = 0; i < lost; ++i)
                lose((*out)[i]);
            auto& back = is_lane_out ? lane : ordinary;
            back.insert(back.begin(), out->begin() + static_cast<long>(lost), out->end());
            std::stable_sort(back.begin(), back.end(), [](const Sent& a, const Sent& b) {
                return std::pair{a.number, a.id} < std::pair{b.number, b.id};
            });
            if (!ends_with)
                end(one_in(2)); // as a link does
        }
        out.reset();
        run_until_idle();
    }

    // --- what must hold
    void check()
    {
        const auto counts = outbox.counts();
        CHECK(counts.accepted == accepted);
        CHECK(counts.sent == written_count);
        CHECK(counts.lost == lost.size());
        CHECK(counts.late == late.size());
        CHECK(counts.queued == open_ids.size());
        CHECK(counts.accepted == counts.sent + counts.lost + counts.queued);
        for (auto& [mark, ids] : marks) {
            const auto has = [&, &waited = ids](const std::set<std::uint64_t>& among) {
                return std::any_of(waited.begin(), waited.end(),
                                   [&](auto id) { return among.count(id) != 0; });
            };
            const auto result = outbox.result(*mark);
            if (result == Outbox::FlushResult::written)
                CHECK_FALSE((has(open_ids) || has(lost)));
            if (result == Outbox::FlushResult::late)
                CHECK_FALSE(has(open_ids));
            if (result == Outbox::FlushResult::waiting)
                CHECK(has(open_ids));
        }
    }
    void step()
    {
        if (out && one_in(3))
            return go_on_writing();
        switch (draw(14)) {
        case 0:
            if (!ends_with && one_in(3))
                end(one_in(2));
            break;
        case 1: push_own(Origin::subscription); break;
        case 2: push_own(one_in(2) ? Origin::heartbeat : Origin::session); break;
        case 3: withdraw(); break;
        case 4: clock.time += 1ms * draw(5); break;
        case 5:
            if (gate != SendGate::shut && !out)
                outbox.set_gate(gate = static_cast<SendGate>(1 + draw(3)));
            break;
        case 6:
            if (marks.size() < 4)
                marks.emplace_back(std::make_unique<Outbox::Mark>(outbox), open_ids);
            else
                marks.erase(marks.begin());
            break;
        case 7:
        case 8:
        case 9:
            if (!out && gate == SendGate::shut && !ends_with)
                open();
            else if (!out)
                take();
            break;
        default: push();
        }
        check();
    }

    // --- the model
    Sent make(std::size_t size)
    {
        Sent sent;
        sent.id = ++last_id;
        sent.text =
            fmt::format("{}:", sent.id) + std::string(size, static_cast<char>('a' + draw(26)));
        return sent;
    }
    static std::span<const std::byte> bytes(const Sent& sent)
    {
        return std::as_bytes(std::span{sent.text});
    }
    std::size_t control_count() const
    {
        const auto of_application = [](const Sent& sent) {
            return sent.origin == Origin::application;
        };
        auto count = std::count_if(lane.begin(), lane.end(), of_application);
        if (out && is_lane_out)
            count += std::count_if(out->begin(), out->end(), of_application);
        return static_cast<std::size_t>(count);
    }
    std::uint64_t front_place() const
    {
        if (out && !is_lane_out && !out->empty())
            return out->front().place;
        return ordinary.empty() ? ordinary_count : ordinary.front().place;
    }
    std::uint64_t first_place() const
    {
        for (const auto& sent : lane)
            if (sent.origin == Origin::subscription)
                return sent.place;
        return UINT64_MAX;
    }
    bool is_unmet(const Sent& sent) const
    {
        return sent.deadline <= clock.time
               || (sent.connection != 0 && sent.connection != (is_connected ? connection : 0));
    }
    bool is_due(const Sent& sent) const
    {
        const auto needed =
            sent.origin == Origin::session ? SendGate::session : SendGate::restoring;
        return needed <= gate && sent.place <= front_place();
    }
    /// Drops what is not to be written, and gives the next batch.
    std::vector<Sent> next()
    {
        if (gate >= SendGate::restoring)
            std::erase_if(lane, [&](const Sent& sent) {
                return sent.origin == Origin::application && is_unmet(sent) && (lose(sent), true);
            });
        std::vector<Sent> batch;
        for (const bool heartbeats : {true, false}) {
            for (const auto& sent : lane)
                if ((sent.origin == Origin::heartbeat) == heartbeats && is_due(sent))
                    batch.push_back(sent);
            if (!batch.empty())
                return batch;
        }
        if (gate != SendGate::open)
            return {};
        const auto end = first_place();
        const auto before = ordinary.size();
        while (!ordinary.empty() && ordinary.front().place < end && is_unmet(ordinary.front())) {
            lose(ordinary.front());
            ordinary.pop_front();
        }
        for (const auto& sent : ordinary) {
            if (sent.place >= end || is_unmet(sent))
                break;
            batch.push_back(sent);
        }
        // What was dropped may have been all that a subscription waited for
        return batch.empty() && ordinary.size() != before ? next() : batch;
    }
    void lose(const Sent& sent)
    {
        if (sent.origin != Origin::application)
            return;
        open_ids.erase(sent.id);
        lost.insert(sent.id);
        const bool was_being_written = out.has_value();
        if (!was_being_written && sent.deadline <= clock.time && gate >= SendGate::restoring)
            late.insert(sent.id);
    }
    void record_written(std::size_t count)
    {
        for (std::size_t i = 0; i < count; ++i) {
            const auto& sent = (*out)[i];
            open_ids.erase(sent.id);
            if (sent.origin == Origin::heartbeat)
                continue;
            ++written_count;
            accepted += sent.origin != Origin::application ? 1 : 0;
        }
        out->erase(out->begin(), out->begin() + static_cast<long>(count));
    }
    void run_until_idle()
    {
        if (!ends_with || out)
            return;
        const bool keep = *ends_with;
        ends_with.reset();
        std::erase_if(lane, [&](const Sent& sent) {
            return (!keep || sent.connection != 0 || sent.origin != Origin::application)
                   && (lose(sent), true);
        });
        if (!keep) {
            for (const auto& sent : ordinary)
                lose(sent);
            ordinary.clear();
        }
    }
    static void check_same(const Batch& batch, const std::vector<Sent>& expected)
    {
        std::size_t count = 0;
        for (const auto& message : batch) {
            REQUIRE(count < expected.size());
            REQUIRE(message.text() == expected[count++].text);
        }
        REQUIRE(count == expected.size());
    }
    std::uint64_t position_of_rest() const
    {
        return is_lane_out ? std::uint64_t{1} << 63 | out->front().number
                           : outbox.ring()->read_position();
    }

    std::minstd_rand random;
    const QueueLimits limits;
    ManualClock clock;
    detail::StopRequest stop;
    detail::WaitQueue written;
    Outbox outbox{LinkId{3}, limits, stop, written, clock};
    std::uint32_t connection = 0;
    bool is_open = false, is_connected = false;
    SendGate gate = SendGate::shut;
    std::optional<bool> ends_with;
    std::deque<Sent> ordinary, lane;
    std::uint64_t ordinary_count = 0, last_id = 0, last_number = 0;
    std::uint64_t accepted = 0, written_count = 0;
    std::set<std::uint64_t> open_ids, lost, late;
    std::map<std::uint64_t, Step> steps;
    std::optional<Batch> batch_;
    std::optional<std::vector<Sent>> out;
    bool is_lane_out = false, was_marked = false;
    std::vector<std::pair<std::unique_ptr<Outbox::Mark>, std::set<std::uint64_t>>> marks;
};

TEST_CASE("Outbox: does what a plain model of it does, in 10,000 random runs")
{
    const auto* const given = std::getenv("SEED");
    const unsigned first = given ? static_cast<unsigned>(std::atoi(given)) : 1;
    const unsigned last = given ? first : 10'000;
    for (auto seed = first; seed <= last; ++seed) {
        CAPTURE(seed);
        OutboxModel model{seed};
        for (int i = 0; i < 60; ++i)
            model.step();
    }
}

} // namespace outbox_model_test
