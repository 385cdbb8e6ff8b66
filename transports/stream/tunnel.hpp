// A tunnel through an HTTP proxy, as a stream. Private to the transports.
#pragma once

#include "proxy.hpp"
#include "stream.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace sidecar::stream {

/// Asks the proxy at the other end of `below` for a tunnel to the host, and gives the stream that
/// leads through it: `below` itself, or one over it that first gives what came glued behind the
/// proxy's answer. `endpoint` is what failures call the host. Throws Exception: connect_failed;
/// operation_aborted once `below` was aborted.
[[nodiscard]] Task<std::shared_ptr<Stream>> tunnel(Context ctx, std::shared_ptr<Stream> below,
                                                   http::Proxy proxy, std::string host,
                                                   std::uint16_t port, std::string endpoint);

} // namespace sidecar::stream
