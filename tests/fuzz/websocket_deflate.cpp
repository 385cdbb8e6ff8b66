// The same as websocket_protocol, where the peer may compress; and the bytes as DEFLATE data of a
// message, and as a message of ours that a peer inflates. The first byte of an input chooses the
// limit and what is kept between messages, the second how the rest is cut, the third which of these.
#include "../transports/websocket/protocol_driver.hpp"
#include "../transports/websocket/zlib_peer.hpp"
#include "require.hpp"

#include <cstdint>

using namespace sidecar::websocket;

namespace {

void check(std::string_view bytes, std::size_t limit, std::size_t segment_bytes,
           const Deflation& deflation)
{
    const auto whole = hear(bytes, limit, 0, Large::collected, deflation);
    for (const auto large : {Large::collected, Large::in_place}) {
        require(whole.is_the_same_as(hear(bytes, limit, segment_bytes, large, deflation)),
                "cut in segments");
        require(whole.is_the_same_as(hear(bytes, limit, 1, large, deflation)), "cut in octets");
    }
    constexpr std::size_t inflater_bytes = 48u << 10;
    require(whole.max_held_bytes
                <= std::max<std::size_t>(2 * limit, Assembly::kept_bytes) + inflater_bytes,
            "memory is bounded by the limit");
    for (const auto& message : whole.messages) {
        require(message.payload.size() <= limit, "no message above the limit");
        require(message.kind == sidecar::MessageKind::binary
                    || is_utf8(std::as_bytes(std::span{message.payload})),
                "text is UTF-8");
    }
}

/// Messages of ours, each of as many bytes as the one before it says, come to the same there.
void check_sending(std::string_view bytes, std::size_t piece_bytes, Deflation deflation)
{
    deflation.threshold_bytes = 0;
    Protocol protocol{0};
    protocol.agree_on(deflation);
    ZlibInflater peer{deflation.window_bits};
    while (!bytes.empty()) {
        const auto size =
            std::min<std::size_t>(bytes.size(), 1 + 7 * static_cast<std::uint8_t>(bytes[0]));
        const auto payload = bytes.substr(0, size);
        bytes.remove_prefix(size);
        std::vector<std::byte> out;
        auto pieces = protocol.begin_message(sidecar::MessageKind::binary, size);
        while (pieces.offset() < size) {
            const auto rest = std::as_bytes(std::span{payload}).subspan(pieces.offset());
            pieces.append(out, rest.first(std::min(rest.size(), piece_bytes)));
        }
        std::string joined;
        const auto frames = frames_of(out);
        for (const auto& frame : frames)
            joined += frame.payload;
        require(((frames.at(0).first & 0x40) != 0 ? peer.message(joined) : joined) == payload,
                "it arrives as it was");
        if (!deflation.keeps_context)
            peer.forget();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    constexpr std::size_t limits[] = {0, 5, 125, 126, 300, 5'000, 70'000, 1u << 20};
    if (size < 3)
        return 0;
    std::string_view bytes{reinterpret_cast<const char*>(data), size};
    bytes.remove_prefix(3);
    const auto limit = limits[data[0] % std::size(limits)];
    const bool keeps_context = (data[0] & 0x80) != 0;
    const Deflation deflation{.peer_keeps_context = keeps_context,
                              .keeps_context = keeps_context,
                              .window_bits = 8 + data[1] % 8,
                              .level = 1 + data[0] / 8 % 9,
                              .mem_level = 1 + data[1] / 8 % 9};
    const std::size_t segment_bytes = 1u + data[1];
    switch (data[2] % 3) {
    case 0: check(bytes, limit, segment_bytes, deflation); break;
    case 1:
        check(server_frame(0xc1, bytes) + server_frame(0xc2, bytes), limit, segment_bytes,
              deflation);
        break;
    default: check_sending(bytes, segment_bytes, deflation);
    }
    return 0;
}
