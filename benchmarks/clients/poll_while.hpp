// How an application with a loop of its own takes messages of this library.
#pragma once

#include <sidecar/clock.hpp>

namespace bench {

/// Hands messages over as long as the handler returns true: by poll(), and by receive() when there
/// is nothing.
template <class Feed, class Handler>
void poll_while(Feed& feed, Handler&& handler)
{
    bool go_on = true;
    const auto hand_over = [&](const auto& message) {
        if (go_on)
            go_on = handler(message.bytes());
    };
    while (go_on) {
        const auto count = feed.poll(hand_over, 4096).value();
        if (count == 0 && go_on)
            hand_over(feed.receive(sidecar::Duration::max()).value());
    }
}

} // namespace bench
