// What the tests of TCP share: messages as LengthPrefix{} has them on the wire.
#pragma once

#include "support/raw_peer.hpp"

#include <sidecar/transports/tcp.hpp>

#include <string>
#include <string_view>

inline sidecar::Tcp<sidecar::LengthPrefix>::Options to(const RawPeer& peer)
{
    return {.host = "127.0.0.1", .port = peer.port()};
}

/// As LengthPrefix{} has it.
inline std::string framed(std::string_view payload)
{
    const auto size = payload.size();
    std::string text;
    for (const int shift : {24, 16, 8, 0})
        text += static_cast<char>(size >> shift & 0xff);
    return text.append(payload);
}

/// The next message of the stream.
inline std::string read_message(RawConnection& c)
{
    std::size_t size = 0;
    for (const char byte : c.read(4))
        size = size << 8 | static_cast<unsigned char>(byte);
    return c.read(size);
}
