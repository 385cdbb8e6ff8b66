// The clock of an inbox that belongs to no sidecar.
#pragma once

#include "base/wait_queue.hpp"

#include <chrono>
#include <memory>

class RealClock final : public sidecar::detail::AppClock {
public:
    [[nodiscard]] sidecar::TimePoint now() const noexcept override
    {
        return std::chrono::steady_clock::now();
    }
    [[nodiscard]] bool is_virtual() const noexcept override { return false; }
    void arm(std::shared_ptr<sidecar::detail::Ticket>) override {}
    void uncount() noexcept override {}
};
