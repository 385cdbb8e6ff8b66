// Runs one world, and says what was wrong.
#pragma once

#include "simulation/world.hpp"

#include <string>

namespace simulation {

/// Returns the first complaint; empty: all rules held. `traces`: writes each step, event and
/// operation of a peer to standard error.
[[nodiscard]] std::string run(const World& world, bool traces = false);

} // namespace simulation
