// Streams of octets written down, and what a protocol makes of them.
#pragma once

#include "protocol_driver.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sidecar::websocket {

/// "81 02 'hi'": octets in hex, and text between quotes.
inline std::string octets(std::string_view script)
{
    std::string bytes;
    for (std::size_t at = 0; at < script.size();) {
        if (script[at] == ' ') {
            ++at;
        } else if (script[at] == '\'') {
            const auto end = script.find('\'', at + 1);
            bytes += script.substr(at + 1, end - at - 1);
            at = end + 1;
        } else {
            bytes += static_cast<char>(std::stoi(std::string{script.substr(at, 2)}, nullptr, 16));
            at += 2;
        }
    }
    return bytes;
}

/// "t:text b:bytes closed 1000goodbye", or "... on" while nothing has ended.
inline std::string told(const Heard& heard)
{
    std::string text;
    for (const auto& message : heard.messages)
        text += (message.kind == MessageKind::text ? "t:" : "b:") + message.payload + " ";
    if (!heard.ending)
        return text + "on";
    const auto& ending = *heard.ending;
    text += ending.error == Error::closed_by_peer ? "closed "
            : ending.error == Error::too_big      ? "too big "
                                                  : "wrong ";
    return text + std::to_string(ending.close_code) + ending.reason;
}

/// Hears it whole, in segments of several sizes, and with messages received in place: all the same.
inline Heard hear_every_way_as(Role role, std::string_view bytes, std::size_t limit,
                               const std::optional<Deflation>& deflation)
{
    const auto whole = hear(bytes, limit, 0, Large::collected, deflation, role);
    for (const auto large : {Large::collected, Large::in_place}) {
        for (const std::size_t segment_bytes : {1, 2, 3, 7, 100}) {
            CAPTURE(segment_bytes);
            CHECK(whole.is_the_same_as(hear(bytes, limit, segment_bytes, large, deflation, role)));
        }
    }
    return whole;
}
/// What a client hears of these bytes of a server, and a server of the same from a client: all the
/// same.
inline Heard hear_every_way(std::string_view bytes, std::size_t limit = 1u << 20,
                            const std::optional<Deflation>& deflation = {})
{
    auto heard = hear_every_way_as(Role::client, bytes, limit, deflation);
    const auto server = hear_every_way_as(Role::server, of_other_role(bytes), limit, deflation);
    CHECK(told(server) == told(heard));
    CHECK(server.last_ping == heard.last_ping);
    return heard;
}

} // namespace sidecar::websocket
