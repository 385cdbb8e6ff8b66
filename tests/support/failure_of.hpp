// What a feed ends with.
#pragma once

#include <sidecar/sidecar.hpp>

#include <chrono>

/// Receives until that fails; gives the failure.
template <class Feed>
sidecar::Failure failure_of(Feed& feed)
{
    for (;;)
        if (auto message = feed.receive(std::chrono::seconds{10}); !message)
            return message.error();
}
