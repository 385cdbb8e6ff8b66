// WebSocketPeer: the peer of a WebSocket, for check_transport().
#pragma once

#include <sidecar/peers/server.hpp>
#include <sidecar/transports/websocket.hpp>

#include <string>
#include <vector>

namespace sidecar {

/// The other end of a WebSocket: a server on the loopback. Side: see TransportPeer.
class WebSocketPeer : public ServerPeer {
public:
    WebSocketPeer() : ServerPeer{make_websocket_protocol(), small_buffered_bytes} {}

    [[nodiscard]] WebSocket::Options options() const
    {
        return {.url = "ws://127.0.0.1:" + std::to_string(port()) + "/",
                .max_message_bytes = 100'000,
                .socket = {.send_buffer_bytes = send_buffer_bytes}};
    }
    [[nodiscard]] std::vector<WebSocket::Options> bad_options() const
    {
        auto no_url = options(), no_host = options(), bad_header = options();
        no_url.url.clear();
        no_host.url = "ws://";
        bad_header.headers = {{"a header", "with a blank"}};
        return {no_url, no_host, bad_header};
    }
};

} // namespace sidecar
