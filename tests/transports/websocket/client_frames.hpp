// What a client sends, as its peer sees it.
#pragma once

#include "support/raw_peer.hpp"

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

struct ClientFrame {
    unsigned first_byte = 0;
    std::string key;
    std::string payload; ///< unmasked
    [[nodiscard]] bool is_close() const { return first_byte == 0x88; }
    [[nodiscard]] unsigned close_code() const
    {
        return payload.size() < 2 ? 0
                                  : static_cast<unsigned char>(payload[0]) * 256u
                                        + static_cast<unsigned char>(payload[1]);
    }
};

inline ClientFrame read_client_frame(RawConnection& c)
{
    ClientFrame frame;
    frame.first_byte = static_cast<unsigned char>(c.read(1)[0]);
    std::uint64_t size = static_cast<unsigned char>(c.read(1)[0]) & 0x7fu;
    if (const unsigned width = size == 126 ? 2 : size == 127 ? 8 : 0; width != 0) {
        size = 0;
        for (const char byte : c.read(width))
            size = size << 8 | static_cast<unsigned char>(byte);
    }
    frame.key = c.read(4);
    frame.payload = c.read(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < frame.payload.size(); ++i)
        frame.payload[i] = static_cast<char>(frame.payload[i] ^ frame.key[i % 4]);
    return frame;
}

/// Reads to the end of the stream; gives the whole frames, and how it ended.
struct UntilEnd {
    std::vector<ClientFrame> frames;
    bool is_orderly = false; ///< by FIN, not by a reset
    bool has_more_behind_close = false;
};
inline UntilEnd read_until_end(RawConnection& c)
{
    UntilEnd all;
    try {
        for (;;) {
            all.frames.push_back(read_client_frame(c));
            if (!all.frames.back().is_close())
                continue;
            char byte = 0;
            const auto n = ::recv(c.fd(), &byte, 1, 0);
            all.is_orderly = n == 0;
            all.has_more_behind_close = n > 0;
            return all;
        }
    } catch (const PeerGone&) { // without a Close
    }
    return all;
}
