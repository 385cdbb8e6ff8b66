// Your framing for Tcp: netstrings ("5:hello,").
//   08_custom_framing host port
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>
#include <string_view>

using namespace std::chrono_literals;

/// A decimal length, a colon, the bytes, a comma.
struct Netstring {
    static constexpr auto kind = sidecar::MessageKind::text;

    sidecar::Decoded decode(std::span<const std::byte> bytes, std::size_t max_message_bytes) const
    {
        constexpr std::size_t longest_head = 20;
        const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
        const auto colon = text.substr(0, longest_head).find(':');
        if (colon == text.npos) {
            if (text.size() >= longest_head)
                refuse(sidecar::Error::protocol_violation, "no length");
            return {}; // more bytes are needed
        }
        std::size_t size = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + colon, size);
        if (error != std::errc{} || end != text.data() + colon)
            refuse(sidecar::Error::protocol_violation, "the length is no number");
        if (size > max_message_bytes)
            refuse(sidecar::Error::too_big, "a netstring above the limit");
        const auto whole = colon + 1 + size + 1;
        if (text.size() < whole)
            return {.payload = {}, .missing_bytes = whole - text.size()};
        if (text[whole - 1] != ',')
            refuse(sidecar::Error::protocol_violation, "no comma behind the bytes");
        return {.is_complete = true,
                .payload = bytes.subspan(colon + 1, size),
                .consumed_bytes = whole};
    }
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        const auto head = fmt::format("{}:", payload.size());
        std::ranges::transform(head, std::back_inserter(out), [](char c) { return std::byte(c); });
        out.insert(out.end(), payload.begin(), payload.end());
        out.push_back(std::byte{','});
    }

private:
    [[noreturn]] static void refuse(sidecar::Error code, const char* why)
    {
        throw sidecar::Exception{{code, {.attempted = "read a netstring", .explanation = why}}};
    }
};
static_assert(sidecar::Framing<Netstring>);

int main(int argc, char** argv)
{
    if (argc != 3)
        return fmt::print(stderr, "usage: 08_custom_framing host port\n"), 64;
    const auto port = static_cast<std::uint16_t>(std::atoi(argv[2]));
    sidecar::Sidecar<sidecar::Tcp<Netstring>> feed{{.host = argv[1], .port = port}};
    feed.start(5s).value();
    feed.send("hello").value();
    fmt::print("{}\n", feed.receive(5s).value().text());
}
