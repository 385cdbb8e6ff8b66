// Session: one run of the program, from connecting to the exit status.
#pragma once

#include "options.hpp"

namespace sidecar_cat {

/// Prints the feed's messages and sends the input, on the calling thread: neither a slow reader nor
/// a slow peer delays the other direction. Returns the exit status.
[[nodiscard]] int run_session(const Settings& settings);

} // namespace sidecar_cat
