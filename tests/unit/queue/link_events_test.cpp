#include "queue/link_events.hpp"

#include <doctest/doctest.h>

using namespace sidecar;
using detail::LinkEvents;
using detail::TerminalFailure;

TEST_CASE("LinkEvents: an event is due once the messages before it are taken")
{
    LinkEvents events;
    CHECK_FALSE(events.has_any());
    CHECK_FALSE(events.is_due(0));
    events.push({0, Event::Kind::up, LinkId{1}, std::nullopt});
    events.push({40, Event::Kind::down, LinkId{1}, Failure{Error::disconnected}});
    CHECK(events.has_any());
    CHECK(events.is_due(0));
    CHECK(events.take().kind == Event::Kind::up);
    CHECK_FALSE(events.is_due(39));
    CHECK(events.is_due(40));
    auto down = events.take();
    CHECK(down.kind == Event::Kind::down);
    CHECK_FALSE(events.has_any());
    events.push({50, Event::Kind::up, LinkId{2}, std::nullopt});
    events.put_back(std::move(down));
    CHECK(events.take().failure == Error::disconnected);
    CHECK(events.take().link == LinkId{2});
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
