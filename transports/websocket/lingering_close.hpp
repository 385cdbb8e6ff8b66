// Lets a peer that we fail read why, although it is still sending.
#pragma once

#include "writer.hpp"

#include <sidecar/transport.hpp>

#include <memory>

namespace sidecar::websocket {

/// After Writer::finish(): waits for the last word to be written, ends our half of the stream, and
/// waits for the peer to end its own; reads and discards meanwhile, up to a bound. To close a socket
/// in which unread bytes are, or arrive later, would reset the connection and could destroy the last
/// word before the peer has read it. Ends at the deadline, or when the stream does (abort()). Throws
/// nothing but a cancellation.
[[nodiscard]] Task<> lingering_close(Context ctx, std::shared_ptr<stream::Stream> stream,
                                     std::shared_ptr<stream::Writer> writer, TimePoint deadline);

} // namespace sidecar::websocket
