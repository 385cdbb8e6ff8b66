// A link's life, edge by edge: no thread, no clock, no transport.
#include "link/link_state.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

namespace life_test {

using namespace sidecar;
using sidecar::detail::LinkState;

const Failure reset{Error::disconnected, {.explanation = "reset"}};
const Failure broken_pipe{Error::disconnected, {.explanation = "broken pipe"}};
const Failure goodbye{Error::closed_by_peer, {.close_code = 1001}};
const Failure late{Error::timed_out, {.explanation = "still connecting"}};

/// What happened before the reading ended, what the reading ended with, and what must follow.
struct Row {
    std::string name;
    std::function<void(LinkState&)> before;
    std::optional<Failure> end;
    Error told;
    std::string explanation;
    bool is_recorded;
    bool is_announced;
};

void up(LinkState& life)
{
    REQUIRE(life.connected());
    REQUIRE(life.prepared());
    REQUIRE(life.announce());
}

TEST_CASE("life: what the end of the reading means")
{
    const std::vector<Row> rows{
        {"refused", [](LinkState&) {}, reset, Error::disconnected, "reset", true, false},
        {"given up", [](LinkState& l) { CHECK(l.give_up(late)); }, reset, Error::timed_out,
         "still connecting", true, false},
        {"stopped while connecting", [](LinkState& l) { CHECK(l.quiesce()); }, reset,
         Error::stopping, "", false, false},
        {"broken while up", up, reset, Error::disconnected, "reset", true, true},
        {"closed by the peer", up, goodbye, Error::closed_by_peer, "", true, true},
        {"the first cause wins",
         [](LinkState& l) {
             up(l);
             CHECK(l.writing_ended(broken_pipe));
         },
         reset, Error::disconnected, "broken pipe", true, true},
        {"but a goodbye explains more, also an empty one",
         [](LinkState& l) {
             up(l);
             CHECK(l.writing_ended(broken_pipe));
         },
         Failure{Error::closed_by_peer}, Error::closed_by_peer, "", true, true},
        {"broken during the drain",
         [](LinkState& l) {
             up(l);
             CHECK_FALSE(l.quiesce());
         },
         reset, Error::disconnected, "reset", true, false},
        {"cancelled by the stop",
         [](LinkState& l) {
             up(l);
             CHECK_FALSE(l.quiesce());
         },
         Failure{Error::cancelled}, Error::stopping, "", false, false},
        {"ended by our own close",
         [](LinkState& l) {
             up(l);
             CHECK_FALSE(l.quiesce());
             l.close_began();
         },
         goodbye, Error::closed_by_peer, "", false, false},
        {"without a failure", [](LinkState&) {}, std::nullopt, Error::cancelled, "", true, false},
    };
    for (const auto& row : rows) {
        CAPTURE(row.name);
        LinkState life;
        row.before(life);
        const auto end = life.reading_ended(row.end);
        CHECK(end.failure == row.told);
        CHECK(end.failure.explanation() == row.explanation);
        CHECK(end.is_recorded == row.is_recorded);
        CHECK(end.is_announced == row.is_announced);
        CHECK(life.state() == LinkState::State::down);
        CHECK(life.is_closed());
        CHECK(*life.cause() == row.told);
    }
}

TEST_CASE("life: a link that was given up or stopped does not come up in the same moment")
{
    LinkState given_up;
    CHECK(given_up.give_up(late));
    CHECK_FALSE(given_up.connected());
    LinkState stopped;
    CHECK(stopped.quiesce());
    CHECK_FALSE(stopped.connected());
    CHECK(stopped.state() == LinkState::State::connecting);
}

TEST_CASE("life: giving up has no effect once it is connected, or twice")
{
    LinkState life;
    up(life);
    CHECK_FALSE(life.give_up(late));
    CHECK_FALSE(life.cause());
    LinkState twice;
    CHECK(twice.give_up(late));
    CHECK_FALSE(twice.give_up(reset));
    CHECK(*twice.cause() == Error::timed_out);
}

TEST_CASE("life: the end of the writing is a cause only while the link is up and not closing")
{
    LinkState connecting;
    CHECK_FALSE(connecting.writing_ended(broken_pipe));
    LinkState up_and_well;
    up(up_and_well);
    CHECK_FALSE(up_and_well.writing_ended(std::nullopt));
    CHECK_FALSE(up_and_well.writing_ended(Failure{Error::cancelled}));
    up_and_well.close_began();
    CHECK_FALSE(up_and_well.writing_ended(broken_pipe));
    CHECK_FALSE(up_and_well.cause());
}

TEST_CASE("life: only a close that was answered has gone well")
{
    LinkState life;
    up(life);
    CHECK_FALSE(life.is_closed());
    life.close_began();
    CHECK(life.is_closing());
    CHECK_FALSE(life.is_closed());
    life.close_ended(reset);
    CHECK(life.is_closed());
    CHECK_FALSE(life.has_closed_well());
    CHECK(*life.close_failure() == Error::disconnected);

    life.close_began(); // too late
    life.close_ended(std::nullopt);
    CHECK(life.is_closed());
    CHECK(*life.close_failure() == Error::disconnected);

    LinkState well;
    up(well);
    well.close_began();
    well.close_ended(std::nullopt);
    CHECK(well.has_closed_well());
    LinkState never;
    CHECK_FALSE(never.has_closed_well());
}

/// A link that may come back: what happened before the reading ended, and what follows.
struct ReturnRow {
    std::string name;
    LinkState::Returns returns;
    std::function<void(LinkState&)> before;
    std::optional<Failure> end;
    Error told;
    bool is_announced;
    bool may_return;
};

TEST_CASE("life: who may return")
{
    using Returns = LinkState::Returns;
    const std::vector<ReturnRow> rows{
        {"never", Returns::never, up, reset, Error::disconnected, true, false},
        {"once it was up, and was", Returns::once_it_was_up, up, reset, Error::disconnected, true,
         true},
        {"once it was up, and was not", Returns::once_it_was_up, [](LinkState&) {}, reset,
         Error::disconnected, false, false},
        {"once it was up, and was only connected", Returns::once_it_was_up,
         [](LinkState& l) { CHECK(l.connected()); }, reset, Error::disconnected, false, false},
        {"from the start", Returns::always, [](LinkState&) {}, reset, Error::disconnected, false,
         true},
        {"given up", Returns::always, [](LinkState& l) { CHECK(l.give_up(late)); }, reset,
         Error::timed_out, false, true},
        {"on_connected failed", Returns::always,
         [](LinkState& l) {
             CHECK(l.connected());
             CHECK(l.give_up(Failure{Error::callback_failed}));
         },
         goodbye, Error::callback_failed, false, true},
        {"condemned", Returns::always,
         [](LinkState& l) {
             up(l);
             CHECK(l.condemn(Failure{Error::unresponsive}));
         },
         goodbye, Error::unresponsive, true, true},
        {"stopped while connecting", Returns::always, [](LinkState& l) { CHECK(l.quiesce()); },
         reset, Error::stopping, false, false},
        {"stopped while preparing", Returns::always,
         [](LinkState& l) {
             CHECK(l.connected());
             CHECK(l.quiesce());
         },
         reset, Error::stopping, false, false},
        {"stopped while up", Returns::always,
         [](LinkState& l) {
             up(l);
             CHECK_FALSE(l.quiesce());
         },
         reset, Error::disconnected, false, false},
        {"closed by the application", Returns::always,
         [](LinkState& l) {
             up(l);
             CHECK_FALSE(l.close_requested());
             l.close_began();
         },
         goodbye, Error::link_closed, true, false},
        {"closed by the application while connecting", Returns::always,
         [](LinkState& l) { CHECK(l.close_requested()); }, reset, Error::link_closed, false, false},
        {"broken while the application drains it", Returns::always,
         [](LinkState& l) {
             up(l);
             CHECK_FALSE(l.close_requested());
         },
         reset, Error::disconnected, true, false},
    };
    for (const auto& row : rows) {
        CAPTURE(row.name);
        LinkState life{row.returns};
        row.before(life);
        const auto end = life.reading_ended(row.end);
        CHECK(end.failure == row.told);
        CHECK(end.is_announced == row.is_announced);
        CHECK(end.may_return == row.may_return);
        CHECK(life.state()
              == (row.may_return ? LinkState::State::backing_off : LinkState::State::down));
    }
}

TEST_CASE("life: connecting, up, down, backing off, and again")
{
    LinkState life{LinkState::Returns::once_it_was_up};
    for (int i = 0; i < 3; ++i) {
        CHECK(life.state() == LinkState::State::connecting);
        CHECK(life.connected());
        CHECK(life.state() == LinkState::State::preparing);
        CHECK(life.is_open());
        CHECK(life.prepared());
        CHECK(life.state() == LinkState::State::up);
        CHECK(life.announce());
        CHECK_FALSE(life.announce());
        CHECK(life.connection() == static_cast<std::uint32_t>(i) + 1);
        CHECK(life.writing_ended(broken_pipe));
        CHECK(life.state() == LinkState::State::failing);
        CHECK(life.is_open());
        const auto end = life.reading_ended(reset);
        CHECK(end.failure.explanation() == "broken pipe");
        CHECK(end.was_announced);
        REQUIRE(end.may_return);
        CHECK(life.state() == LinkState::State::backing_off);
        CHECK_FALSE(life.is_open());
        CHECK(life.retry());
        CHECK_FALSE(life.cause());
    }
    // It was up, so an attempt that fails is followed by another
    const auto end = life.reading_ended(reset);
    CHECK(end.may_return);
    CHECK_FALSE(end.was_announced);
    CHECK_FALSE(end.is_announced);
    life.go_down(); // the limit of the attempts
    CHECK_FALSE(life.retry());
    life.end();
    CHECK(life.state() == LinkState::State::ended);
}

TEST_CASE("life: an end that comes before the link was up is announced if the connection was")
{
    LinkState life;
    REQUIRE(life.connected());
    REQUIRE(life.announce()); // on_connected passes a message on
    CHECK(life.give_up(Failure{Error::callback_failed}));
    CHECK(life.state() == LinkState::State::preparing);
    const auto end = life.reading_ended(reset);
    CHECK(end.was_announced);
    CHECK(end.is_announced);
}

TEST_CASE("life: a link that was up is announced as closed, whatever it did when it was closed")
{
    LinkState life{LinkState::Returns::always};
    up(life);
    REQUIRE(life.reading_ended(reset).may_return);
    REQUIRE(life.retry());
    CHECK(life.close_requested());
    const auto end = life.reading_ended(reset);
    CHECK(end.failure == Error::link_closed);
    CHECK_FALSE(end.was_announced);
    CHECK(end.is_announced);
    CHECK_FALSE(end.may_return);
}

TEST_CASE("life: a stop while it backs off is its end")
{
    for (const bool by_application : {false, true}) {
        LinkState life{LinkState::Returns::once_it_was_up};
        up(life);
        REQUIRE(life.reading_ended(reset).may_return);
        CHECK((by_application ? life.close_requested() : life.quiesce()));
        CHECK(life.state() == LinkState::State::down);
        CHECK_FALSE(life.retry());
    }
}

TEST_CASE("life: nothing becomes of a connection that failed or was stopped while it was prepared")
{
    LinkState given_up, stopped, broken;
    for (auto* life : {&given_up, &stopped, &broken})
        REQUIRE(life->connected());
    CHECK(given_up.give_up(late));
    CHECK(stopped.quiesce());
    CHECK(broken.writing_ended(broken_pipe));
    for (auto* life : {&given_up, &stopped, &broken}) {
        CHECK_FALSE(life->prepared());
        CHECK(life->state() == LinkState::State::preparing);
    }
    CHECK_FALSE(stopped.give_up(late));
    LinkState up_already;
    up(up_already);
    CHECK_FALSE(up_already.give_up(late));
    CHECK_FALSE(up_already.prepared());
}

} // namespace life_test
