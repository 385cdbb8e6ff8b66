// Any bytes, cut in any way: the same messages, the same verdict, no more memory than the limit.
// The first byte of an input chooses the limit and, with its highest bit, the server's role; the
// second how the rest is cut. In either role the same frames come to the same.
#include "../transports/websocket/protocol_driver.hpp"
#include "require.hpp"

#include <cstdint>

using namespace sidecar::websocket;

namespace {

void check(std::string_view bytes, std::size_t limit, std::size_t segment_bytes, Role role)
{
    const auto hear_cut = [&](std::size_t segment, Large large) {
        return hear(bytes, limit, segment, large, {}, role);
    };
    const auto whole = hear_cut(0, Large::collected);
    for (const auto large : {Large::collected, Large::in_place}) {
        require(whole.is_the_same_as(hear_cut(segment_bytes, large)), "cut in segments");
        require(whole.is_the_same_as(hear_cut(1, large)), "cut in octets");
    }
    const auto other = hear(of_other_role(bytes), limit, 0, Large::collected, {},
                            role == Role::client ? Role::server : Role::client);
    require(other.messages == whole.messages && other.last_ping == whole.last_ping,
            "the same in the other role");
    require(other.ending.has_value() == whole.ending.has_value()
                && (!whole.ending || other.ending->close_code == whole.ending->close_code),
            "the same ending in the other role");
    require(whole.max_held_bytes <= std::max<std::size_t>(2 * limit, Assembly::kept_bytes),
            "memory is bounded by the limit");
    for (const auto& message : whole.messages) {
        require(message.payload.size() <= limit, "no message above the limit");
        require(message.kind == sidecar::MessageKind::binary
                    || is_utf8(std::as_bytes(std::span{message.payload})),
                "text is UTF-8");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    constexpr std::size_t limits[] = {0,   5,      125,      126,
                                      300, 70'000, 1u << 20, static_cast<std::size_t>(-1)};
    if (size < 2)
        return 0;
    const std::string_view bytes{reinterpret_cast<const char*>(data), size};
    check(bytes.substr(2), limits[data[0] % std::size(limits)], 1 + data[1],
          (data[0] & 0x80) != 0 ? Role::server : Role::client);
    return 0;
}
