#include "accept_key.hpp"

#include "authorization.hpp"

#include <boost/endian/conversion.hpp>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <unistd.h>

namespace sidecar::websocket {
namespace {

using Words = std::array<std::uint32_t, 5>;

/// One block of 64 bytes, FIPS 180-4 section 6.1.2.
void add_block(Words& hash, const unsigned char* block)
{
    std::array<std::uint32_t, 80> w{};
    for (std::size_t i = 0; i < 16; ++i)
        w[i] = boost::endian::load_big_u32(block + 4 * i);
    for (std::size_t i = 16; i < 80; ++i)
        w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    auto [a, b, c, d, e] = hash;
    for (std::size_t i = 0; i < 80; ++i) {
        const auto f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999u
                       : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1u
                       : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu
                                : (b ^ c ^ d) + 0xca62c1d6u;
        const auto next = std::rotl(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = std::rotl(b, 30);
        b = a;
        a = next;
    }
    const Words sum{a, b, c, d, e};
    for (std::size_t i = 0; i < hash.size(); ++i)
        hash[i] += sum[i];
}

/// SHA-1 is what the RFC demands; nothing secret depends on it.
std::string sha1(std::string text)
{
    const std::uint64_t bits = text.size() * 8;
    text += '\x80';
    text.resize((text.size() + 8 + 63) / 64 * 64);
    boost::endian::store_big_u64(reinterpret_cast<unsigned char*>(text.data() + text.size() - 8),
                                 bits);
    Words hash{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    for (std::size_t at = 0; at < text.size(); at += 64)
        add_block(hash, reinterpret_cast<const unsigned char*>(text.data() + at));
    std::string digest(20, '\0');
    for (std::size_t i = 0; i < hash.size(); ++i)
        boost::endian::store_big_u32(reinterpret_cast<unsigned char*>(digest.data() + 4 * i),
                                     hash[i]);
    return digest;
}

} // namespace

std::string make_key()
{
    std::string bytes(16, '\0');
    if (::getentropy(bytes.data(), bytes.size()) != 0)
        throw std::system_error{errno, std::generic_category(), "getentropy"};
    return http::base64(bytes);
}

std::string accept_of(std::string_view key)
{
    return http::base64(sha1(std::string{key} + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

} // namespace sidecar::websocket
