// ConnectTrace: the steps of a connect.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/phase.hpp>

#include <string>
#include <vector>

namespace sidecar {

/// One phase of a connect.
struct ConnectStep {
    Phase phase{};
    std::string detail; ///< the peer or the place: "with 192.0.2.1:443"; may be empty
    Duration elapsed{};
};

/// One address that a connect tried.
struct ConnectAttempt {
    std::string address; ///< "192.0.2.1:443"
    std::string outcome; ///< why it was not taken; empty: the connection uses it
    Duration elapsed{};  ///< until it was taken or given up
};

/// The steps of the link's latest connect, successful or not. A phase that occurs again (after a
/// redirect, say) is a separate step. The 32nd step includes the time of all later ones.
struct ConnectTrace {
    std::vector<ConnectStep> steps;       ///< in their order; at most 32
    std::vector<ConnectAttempt> attempts; ///< in the order in which they began; at most 32
    Duration total{};

    /// The time of all steps in this phase.
    [[nodiscard]] Duration time_in(Phase phase) const noexcept
    {
        Duration sum{};
        for (const auto& step : steps)
            if (step.phase == phase)
                sum += step.elapsed;
        return sum;
    }
};

/// One line: "resolving the name 1.20 ms, connecting to 192.0.2.2:443 23.00 ms (tried
/// 192.0.2.1:443: Connection refused after 1.00 ms; 192.0.2.2:443: taken after 22.00 ms)". Empty:
/// nothing was tried.
[[nodiscard]] SIDECAR_API std::string to_string(const ConnectTrace& trace);

} // namespace sidecar
