// Lets the mock's loop do all there is to do at the present virtual time.
#pragma once

#include <sidecar/sidecar.hpp>

#include <chrono>

#include <doctest/doctest.h>

template <class Feed>
void run_until_idle(Feed& feed)
{
    REQUIRE(feed.call("a call", [](sidecar::Context ctx) -> sidecar::Task<> {
        co_await ctx.sleep_for(std::chrono::milliseconds{1});
    }));
}
