#include "sender.hpp"

#include <boost/endian/conversion.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace sidecar::websocket {

namespace {

void append_bytes(Sender::Buffer& out, std::span<const std::byte> bytes)
{
    out.insert(out.end(), bytes.begin(), bytes.end());
}

/// The longest beginning of UTF-8 that has at most so many bytes and no cut character.
std::string_view cut(std::string_view text, std::size_t most_bytes)
{
    if (text.size() <= most_bytes)
        return text;
    const auto continues = [&](std::size_t at) {
        return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
    };
    while (most_bytes != 0 && continues(most_bytes))
        --most_bytes;
    return text.substr(0, most_bytes);
}

} // namespace

FrameInPieces::FrameInPieces(Buffer& out, Opcode opcode, std::uint64_t payload_bytes,
                             std::uint8_t flags)
{
    append_bytes(out, ClientHead{opcode, payload_bytes, flags}.bytes());
    append_bytes(out, key_);
}

void FrameInPieces::append(Buffer& out, std::span<const std::byte> piece)
{
    append_bytes(out, piece);
    mask(std::span{out}.last(piece.size()), key_, offset_);
    offset_ += piece.size();
}

void MessageInPieces::append(Buffer& out, std::span<const std::byte> piece)
{
    if (!deflater_ || !append_compressed(out, piece)) {
        if (!plain_)
            plain_.emplace(out, opcode_, payload_bytes_);
        plain_->append(out, piece);
    }
    offset_ += piece.size();
}

/// False: nothing was appended, and the message goes plain.
bool MessageInPieces::append_compressed(Buffer& out, std::span<const std::byte> piece)
{
    const bool is_first = offset_ == 0;
    const bool is_last = offset_ + piece.size() == payload_bytes_;
    const auto deflated = deflater_->deflate(piece, is_last);
    if (is_first && deflated.size() >= piece.size()) {
        std::exchange(deflater_, nullptr)->discard();
        return false;
    }
    const auto flags = (is_first ? FrameHead::compressed : 0) | (is_last ? FrameHead::fin : 0);
    FrameInPieces{out, opcode_, deflated.size(), static_cast<std::uint8_t>(flags)}.append(out,
                                                                                          deflated);
    opcode_ = Opcode::continuation;
    return true;
}

/// False: it would get no smaller, and nothing was appended.
bool Sender::append_compressed(Buffer& out, Opcode opcode, std::span<const std::byte> payload)
{
    const auto deflated = deflater_->deflate(payload, true);
    if (deflated.size() >= payload.size()) {
        deflater_->discard();
        return false;
    }
    FrameInPieces{out, opcode, deflated.size(), FrameHead::fin | FrameHead::compressed}.append(
        out, deflated);
    return true;
}

bool Sender::append(Buffer& out, Opcode opcode, std::span<const std::byte> payload)
{
    if (is_over_)
        return false;
    FrameInPieces{out, opcode, payload.size()}.append(out, payload);
    return true;
}

bool Sender::append_close(Buffer& out, std::uint16_t code, std::string_view reason)
{
    std::array<std::byte, most_control_bytes> payload;
    std::size_t size = 0;
    if (code != close_code::none) {
        boost::endian::store_big_u16(reinterpret_cast<unsigned char*>(payload.data()), code);
        reason = cut(reason, most_control_bytes - sizeof code);
        const auto bytes = std::as_bytes(std::span{reason});
        std::copy(bytes.begin(), bytes.end(), payload.begin() + sizeof code);
        size = sizeof code + bytes.size();
    }
    const bool was_appended = append(out, Opcode::close, std::span{payload}.first(size));
    is_over_ = true;
    return was_appended;
}

} // namespace sidecar::websocket
