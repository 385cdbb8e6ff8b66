// Any bytes, cut in any way, for each framing that comes with Tcp: the same messages, the same
// verdict; and messages that are encoded are decoded to the same. The first byte of an input chooses
// the framing, the second the limit, the third how the rest is cut.
#include "require.hpp"

#include <sidecar/transports/framing.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace sidecar;

namespace {

struct Heard {
    std::vector<std::string> messages;
    error_code error;
    bool operator==(const Heard&) const = default;
};

std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// As a reader drives it: what is not consumed is shown again, moved, with more behind it.
template <class F>
Heard hear(F framing, std::string_view bytes, std::size_t limit, std::size_t segment_bytes)
{
    Heard heard;
    std::string unread;
    try {
        while (!bytes.empty()) {
            unread += bytes.substr(0, segment_bytes);
            bytes.remove_prefix(std::min(segment_bytes, bytes.size()));
            for (;;) {
                // memory of exactly that size, so that a sanitizer sees each look beyond it
                const std::vector<char> shown(unread.begin(), unread.end());
                const auto decoded = framing.decode(std::as_bytes(std::span{shown}), limit);
                require(decoded.consumed_bytes <= shown.size(), "no more is consumed than shown");
                require(!decoded.is_complete || decoded.consumed_bytes != 0,
                        "a message takes bytes");
                require(decoded.payload.size() <= std::max(limit, shown.size()), "within bounds");
                require(decoded.is_complete || decoded.missing_bytes <= limit + 8,
                        "no more is missing than the limit");
                if (!decoded.is_complete && decoded.consumed_bytes == 0)
                    break;
                if (decoded.is_complete)
                    heard.messages.push_back(text_of(decoded.payload));
                unread.erase(0, decoded.consumed_bytes);
            }
        }
    } catch (const Exception& e) {
        heard.error = e.failure().code();
    }
    for (const auto& message : heard.messages)
        require(message.size() <= limit, "no message above the limit");
    return heard;
}

std::string joined(const Heard& heard)
{
    std::string text;
    for (const auto& message : heard.messages)
        text += message;
    return text;
}

/// Each message as long as its first byte says; those that the framing cannot carry are left out.
template <class F>
void check_encoding(F framing, std::string_view bytes, std::size_t segment_bytes)
{
    std::vector<std::byte> out, in_parts;
    Heard expected;
    while (!bytes.empty()) {
        const std::size_t wanted = static_cast<std::uint8_t>(bytes[0]);
        const auto message = bytes.substr(0, std::max<std::size_t>(wanted, 1));
        bytes.remove_prefix(message.size());
        const auto payload = std::as_bytes(std::span{message});
        if constexpr (requires { framing.check_send(payload); })
            if (!framing.check_send(payload))
                continue;
        framing.encode(out, payload);
        framing.encode_head(in_parts, payload);
        in_parts.insert(in_parts.end(), payload.begin(), payload.end());
        framing.encode_tail(in_parts, payload);
        expected.messages.emplace_back(message);
    }
    require(out == in_parts, "a head and a tail are what surrounds the payload");
    const auto heard = hear(framing, text_of(out), 1u << 20, segment_bytes);
    if constexpr (std::is_same_v<F, Raw>)
        require(joined(heard) == joined(expected), "what is sent raw arrives");
    else
        require(heard == expected, "what is sent arrives");
}

template <class F>
void check(const F& framing, std::string_view bytes, std::size_t limit, std::size_t segment_bytes)
{
    const auto whole = hear(framing, bytes, limit, std::max<std::size_t>(bytes.size(), 1));
    for (const auto size : {segment_bytes, std::size_t{1}}) {
        const auto cut = hear(framing, bytes, limit, size);
        if constexpr (std::is_same_v<F, Raw>)
            require(joined(cut) == joined(whole), "cut in segments");
        else
            require(cut == whole, "cut in segments");
    }
    check_encoding(framing, bytes, segment_bytes);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    constexpr std::size_t limits[] = {0, 1, 5, 16, 255, 256, 70'000, 1u << 20};
    constexpr unsigned widths[] = {1, 2, 4, 8};
    if (size < 3)
        return 0;
    std::string_view bytes{reinterpret_cast<const char*>(data), size};
    bytes.remove_prefix(3);
    const auto limit = limits[data[1] % std::size(limits)];
    const std::size_t segment_bytes = 1u + data[2];
    const auto order = (data[0] & 0x80) != 0 ? std::endian::big : std::endian::little;
    switch (data[0] % 6) {
    case 0: check(Lines{}, bytes, limit, segment_bytes); break;
    case 1: check(Lines{'\0'}, bytes, limit, segment_bytes); break;
    case 2: check(Raw{}, bytes, limit, segment_bytes); break;
    case 3: check(FixedSize<1>{}, bytes, limit, segment_bytes); break;
    case 4: check(FixedSize<16>{}, bytes, limit, segment_bytes); break;
    default:
        check(LengthPrefix{.width = widths[data[0] / 8 % 4], .order = order}, bytes, limit,
              segment_bytes);
    }
    return 0;
}
