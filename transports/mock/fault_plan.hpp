// FaultPlan: the faults of one connection of a Mock, drawn from a seed.
#pragma once

#include <sidecar/detail/random.hpp>
#include <sidecar/faults.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sidecar::mock {

enum class Operation { connect, read, write, ping, close };
inline constexpr std::size_t operation_count = 5;

/// The faults of one operation.
struct Fault {
    Duration delay{};      ///< of the operation
    Duration pause{};      ///< of a read, in addition
    Duration pong_delay{}; ///< of a ping's answer
    bool is_reset = false;
    bool is_refused = false;
    bool is_stalled = false;
    bool is_short = false;
    std::uint64_t random = 0; ///< decides how short
};

/// Each kind of operation has its own sequence of faults, which does not depend on the others. Each
/// operation takes the same number of random values, so a rate does not move the faults of another.
class FaultPlan {
public:
    FaultPlan(const Faults& faults, std::uint32_t connection) : faults_{faults}
    {
        auto seed = faults.seed;
        (void)detail::next_random(seed);
        seed ^= connection;
        for (auto& state : states_)
            state = detail::next_random(seed);
    }

    [[nodiscard]] Fault draw(Operation operation)
    {
        if (!faults_.any())
            return {};
        auto& state = states_[static_cast<std::size_t>(operation)];
        const auto hits = [&](double rate) { return detail::next_fraction(state) < rate; };
        const auto up_to = [&](bool is_hit, Duration max) {
            const auto random = detail::next_random(state);
            if (!is_hit || max <= Duration{})
                return Duration{};
            return Duration{
                static_cast<Duration::rep>(random % (static_cast<std::uint64_t>(max.count()) + 1))};
        };
        const bool is_read = operation == Operation::read;
        Fault fault;
        fault.delay = up_to(hits(faults_.latency), faults_.max_latency);
        fault.pause = up_to(hits(faults_.pause) && is_read, faults_.max_pause);
        fault.pong_delay =
            up_to(hits(faults_.late_pong) && operation == Operation::ping, faults_.max_pong_delay);
        fault.is_reset = hits(faults_.reset);
        fault.is_refused = hits(faults_.refuse) && operation == Operation::connect;
        fault.is_stalled = hits(faults_.stall);
        fault.is_short = hits(is_read ? faults_.short_read : faults_.short_write);
        fault.random = detail::next_random(state);
        const auto before_rest =
            up_to(fault.is_short && operation == Operation::write, faults_.max_latency);
        if (fault.delay == Duration{})
            fault.delay = before_rest;
        return fault;
    }

private:
    const Faults faults_;                                 // sidecar side
    std::array<std::uint64_t, operation_count> states_{}; // sidecar side
};

} // namespace sidecar::mock
