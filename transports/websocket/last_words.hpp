// How a connection ends: what the application hears of it, and how a peer that we fail can read why,
// although it is still sending.
#pragma once

#include "receiver.hpp"
#include "secrets.hpp"
#include "writer.hpp"

#include <sidecar/transport.hpp>

#include <memory>
#include <string>

namespace sidecar::websocket {

/// What the application is told. A credential of ours that the peer's reason repeats is masked.
[[nodiscard]] Failure to_failure(const Ending& ending, const std::string& endpoint,
                                 const http::Secrets& credentials);

/// After Writer::finish(): waits for the last word to be written, ends our half of the stream, and
/// waits for the peer to end its own; reads and discards meanwhile, up to a bound. To close a socket
/// in which unread bytes are, or arrive later, would reset the connection and could destroy the last
/// word before the peer has read it. Ends at the deadline, or when the stream does (abort()). Throws
/// nothing but a cancellation.
[[nodiscard]] Task<> let_peer_read_last_words(Context ctx, std::shared_ptr<stream::Stream> stream,
                                              std::shared_ptr<stream::Writer> writer,
                                              TimePoint deadline);

} // namespace sidecar::websocket
