// The clock of an inbox that belongs to no sidecar.
#pragma once

#include "base/wait_queue.hpp"

#include <chrono>

class RealClock final : public sidecar::detail::AppClock {
public:
    [[nodiscard]] sidecar::TimePoint now() const noexcept override
    {
        return std::chrono::steady_clock::now();
    }
};
