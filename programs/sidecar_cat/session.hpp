// Session: one run of the program, from connecting to the exit status.
#pragma once

#include "options.hpp"

namespace sidecar_cat {

/// Prints the feed's messages on the calling thread, while Input sends on another: neither a slow
/// reader nor a slow peer delays the other direction. Ends the process with its exit status.
[[noreturn]] void run_session(const Settings& settings);

} // namespace sidecar_cat
