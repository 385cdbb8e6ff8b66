// A clock that a test sets.
#pragma once

#include "base/wait_queue.hpp"

#include <memory>

class ManualClock : public sidecar::detail::AppClock {
public:
    [[nodiscard]] sidecar::TimePoint now() const noexcept override { return time; }
    [[nodiscard]] bool is_virtual() const noexcept override { return false; }
    void arm(std::shared_ptr<sidecar::detail::Ticket>) override {}
    void uncount() noexcept override {}

    sidecar::TimePoint time{};
};
