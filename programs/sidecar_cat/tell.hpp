// tell(): a line on standard error.
#pragma once

#include <string_view>

namespace sidecar_cat {

/// Writes `text` to standard error, if that takes it. Where it does not (a full disk, a reader who
/// has gone), there is nobody left to be told, and nothing else of the program changes. In one call
/// of the system, so that lines of several threads do not mix. Side: any thread.
void tell(std::string_view text) noexcept;

} // namespace sidecar_cat
