// A clock that a test sets.
#pragma once

#include "base/wait_queue.hpp"

class ManualClock : public sidecar::detail::AppClock {
public:
    [[nodiscard]] sidecar::TimePoint now() const noexcept override { return time; }

    sidecar::TimePoint time{};
};
