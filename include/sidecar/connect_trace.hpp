// ConnectTrace: how a connecting went, step by step.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/phase.hpp>

#include <string>
#include <vector>

namespace sidecar {

/// One phase of a connecting.
struct ConnectStep {
    Phase phase{};
    std::string detail; ///< with whom, or where: "with 192.0.2.1:443"; may be empty
    Duration took{};
};

/// One address that was tried.
struct ConnectAttempt {
    std::string address; ///< "192.0.2.1:443"
    std::string outcome; ///< why it was not taken; empty: it is the one that won
    Duration took{};     ///< until it won or lost
};

/// How a connecting went: the link's latest, successful or not. A phase that came up again (a
/// redirect, say) is a step of its own; beyond the 32nd they are counted with the last.
struct ConnectTrace {
    std::vector<ConnectStep> steps;       ///< in their order
    std::vector<ConnectAttempt> attempts; ///< in the order in which they began; at most 32
    Duration total{};

    /// Of all steps in this phase.
    [[nodiscard]] Duration time_in(Phase phase) const noexcept
    {
        Duration sum{};
        for (const auto& step : steps)
            if (step.phase == phase)
                sum += step.took;
        return sum;
    }
};

/// One line: "resolving the name 1.20 ms, connecting to 192.0.2.2:443 23.00 ms (tried 192.0.2.1:443:
/// Connection refused after 1.00 ms; 192.0.2.2:443: taken after 22.00 ms)". Empty: nothing was tried.
[[nodiscard]] SIDECAR_API std::string to_string(const ConnectTrace& trace);

} // namespace sidecar
