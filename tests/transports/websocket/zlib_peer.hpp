// A peer's permessage-deflate, on zlib alone.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>

/// Compresses as a server may. `window_bits` 9 to 15.
class ZlibDeflater {
public:
    explicit ZlibDeflater(int window_bits = 15, int level = 6, int mem_level = 8)
    {
        if (deflateInit2(&z_, level, Z_DEFLATED, -window_bits, mem_level, Z_DEFAULT_STRATEGY)
            != Z_OK)
            throw std::runtime_error{"deflateInit2"};
    }
    ZlibDeflater(const ZlibDeflater&) = delete;
    ZlibDeflater& operator=(const ZlibDeflater&) = delete;
    ~ZlibDeflater() { deflateEnd(&z_); }

    /// As it stands in the frames of a message: without the last four octets.
    std::string message(std::string_view payload)
    {
        auto text = run(payload, Z_SYNC_FLUSH);
        text.resize(text.size() - 4);
        return text;
    }
    /// Ended by a block with BFINAL, and the octet that the RFC wants behind it.
    std::string final_message(std::string_view payload)
    {
        auto text = run(payload, Z_FINISH);
        deflateReset(&z_);
        return text + '\0';
    }
    void forget() { deflateReset(&z_); }

private:
    std::string run(std::string_view payload, int flush)
    {
        std::string text;
        z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(payload.data()));
        z_.avail_in = static_cast<uInt>(payload.size());
        do {
            char room[4096];
            z_.next_out = reinterpret_cast<Bytef*>(room);
            z_.avail_out = sizeof room;
            (void)deflate(&z_, flush);
            text.append(room, sizeof room - z_.avail_out);
        } while (z_.avail_out == 0);
        return text;
    }
    z_stream z_{};
};

/// Inflates octet by octet, so that a reference beyond the window is an error. `window_bits` 8 to 15.
class ZlibInflater {
public:
    explicit ZlibInflater(int window_bits = 15)
    {
        if (inflateInit2(&z_, -window_bits) != Z_OK)
            throw std::runtime_error{"inflateInit2"};
    }
    ZlibInflater(const ZlibInflater&) = delete;
    ZlibInflater& operator=(const ZlibInflater&) = delete;
    ~ZlibInflater() { inflateEnd(&z_); }

    /// Of the payload of a message's frames. Throws for what cannot be inflated.
    std::string message(std::string payload)
    {
        payload.append("\0\0\xff\xff", 4);
        std::string text;
        z_.next_in = reinterpret_cast<Bytef*>(payload.data());
        z_.avail_in = static_cast<uInt>(payload.size());
        for (;;) {
            char octet = 0;
            z_.next_out = reinterpret_cast<Bytef*>(&octet);
            z_.avail_out = 1;
            const auto code = inflate(&z_, Z_SYNC_FLUSH);
            if (code != Z_OK && code != Z_BUF_ERROR)
                throw std::runtime_error{z_.msg ? z_.msg : "inflate"};
            if (z_.avail_out != 0)
                return text;
            text += octet;
        }
    }
    void forget() { inflateReset(&z_); }

private:
    z_stream z_{};
};

/// Like the messages of a feed: much is the same, and some is not.
inline std::string feed_message(unsigned number, std::size_t bytes)
{
    std::string text;
    unsigned state = number * 2654435761u + 1;
    while (text.size() < bytes) {
        state = state * 1103515245u + 12345u;
        text += "{\"symbol\":\"S" + std::to_string(state >> 22)
                + "\",\"price\":" + std::to_string(state >> 12) + "},";
    }
    text.resize(bytes);
    return text;
}

/// Nothing that can be compressed; ASCII or not.
inline std::string noise(unsigned number, std::size_t bytes)
{
    std::string text;
    unsigned long long state = number * 6364136223846793005ull + 1442695040888963407ull;
    while (text.size() < bytes) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        text += static_cast<char>(state >> 56);
    }
    return text;
}
