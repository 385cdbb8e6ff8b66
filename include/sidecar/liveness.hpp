// How a link finds out that its peer is gone, or has nothing to say any more.
#pragma once

#include <sidecar/clock.hpp>

namespace sidecar {

struct Liveness {};

} // namespace sidecar
