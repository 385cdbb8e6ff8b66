// The load generator for WebSocket and TCP clients: plain blocking sockets, precomputed frames, large writes.
#pragma once

#include "harness.hpp"

namespace bench {

void serve(const Job& job, const std::function<void(std::uint16_t)>& listening);

} // namespace bench
