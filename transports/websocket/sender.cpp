#include "sender.hpp"

#include <boost/endian/conversion.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace sidecar::websocket {

namespace {

void append_frame(Sender::Buffer& out, Opcode opcode, std::span<const std::byte> payload,
                  std::uint8_t flags = FrameHead::fin)
{
    const auto key = new_mask_key();
    const auto append = [&](std::span<const std::byte> bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
    };
    append(ClientHead{opcode, payload.size(), flags}.bytes());
    append(key);
    append(payload);
    mask(std::span{out}.last(payload.size()), key);
}

/// The longest beginning of UTF-8 that has at most so many bytes and no cut character.
std::string_view cut(std::string_view text, std::size_t max_bytes)
{
    if (text.size() <= max_bytes)
        return text;
    const auto continues = [&](std::size_t at) {
        return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
    };
    while (max_bytes != 0 && continues(max_bytes))
        --max_bytes;
    return text.substr(0, max_bytes);
}

} // namespace

void PartialMessage::append(Buffer& out, std::span<const std::byte> piece)
{
    const bool is_first = offset_ == 0;
    offset_ += piece.size();
    const bool is_last = offset_ == payload_bytes_;
    auto payload = piece;
    if (deflater_)
        payload = deflater_->deflate(piece, is_last);
    if (deflater_ && is_first && payload.size() >= piece.size()) {
        std::exchange(deflater_, nullptr)->discard();
        payload = piece;
    }
    const auto flags =
        (is_first && deflater_ ? FrameHead::compressed : 0) | (is_last ? FrameHead::fin : 0);
    append_frame(out, std::exchange(opcode_, Opcode::continuation), payload,
                 static_cast<std::uint8_t>(flags));
}

/// False: it would get no smaller, and nothing was appended.
bool Sender::append_compressed(Buffer& out, Opcode opcode, std::span<const std::byte> payload)
{
    const auto deflated = deflater_->deflate(payload, true);
    if (deflated.size() >= payload.size()) {
        deflater_->discard();
        return false;
    }
    append_frame(out, opcode, deflated, FrameHead::fin | FrameHead::compressed);
    return true;
}

bool Sender::append(Buffer& out, Opcode opcode, std::span<const std::byte> payload)
{
    if (is_over_)
        return false;
    append_frame(out, opcode, payload);
    return true;
}

bool Sender::append_close(Buffer& out, std::uint16_t code, std::string_view reason)
{
    std::array<std::byte, max_control_bytes> payload;
    std::size_t size = 0;
    if (code != close_code::none) {
        boost::endian::store_big_u16(reinterpret_cast<unsigned char*>(payload.data()), code);
        reason = cut(reason, max_control_bytes - sizeof code);
        const auto bytes = std::as_bytes(std::span{reason});
        std::copy(bytes.begin(), bytes.end(), payload.begin() + sizeof code);
        size = sizeof code + bytes.size();
    }
    const bool was_appended = append(out, Opcode::close, std::span{payload}.first(size));
    is_over_ = true;
    return was_appended;
}

} // namespace sidecar::websocket
