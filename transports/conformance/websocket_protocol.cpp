// A server's end of RFC 6455. It trusts its client, which is under test: it checks no rule of the
// protocol beyond the form of frames.
#include <sidecar/peers/server.hpp>

#include <boost/beast/websocket/detail/hybi13.hpp>

#include <cstdint>
#include <fmt/format.h>
#include <utility>

namespace sidecar {
namespace {

constexpr unsigned fin = 0x80, op_text = 1, op_binary = 2, op_close = 8, op_ping = 9, op_pong = 10;

std::string make_frame(unsigned first, std::string_view payload)
{
    std::string text(1, static_cast<char>(first));
    const std::uint64_t size = payload.size();
    unsigned width = 0;
    if (size >= 126)
        width = size < 65536 ? 2 : 8;
    text += static_cast<char>(width == 0 ? size : width == 2 ? 126 : 127);
    for (unsigned i = width; i-- > 0;)
        text += static_cast<char>(size >> (8 * i) & 0xff);
    return text.append(payload);
}

class WebSocketProtocol final : public ServerProtocol {
public:
    std::string encode(MessageKind kind, std::string_view payload) override
    {
        return make_frame(fin | (kind == MessageKind::text ? op_text : op_binary), payload);
    }
    bool has_handshake() const override { return true; }
    bool is_open() const override { return is_open_; }
    bool closes_by_end() const override { return false; }
    std::string close_bytes() override
    {
        has_closed_ = true;
        return make_frame(fin | op_close, std::string_view{"\x03\xe8", 2}); // 1000
    }
    std::size_t decode(std::string_view bytes, Arrived& arrived) override
    {
        std::size_t at = 0;
        while (const auto taken = is_open_ ? take_frame(bytes.substr(at), arrived)
                                           : take_request(bytes.substr(at), arrived))
            at += taken;
        return at;
    }

private:
    std::size_t take_request(std::string_view bytes, Arrived& arrived)
    {
        namespace beast = boost::beast::websocket::detail;
        constexpr std::string_view field = "Sec-WebSocket-Key: ", end = "\r\n\r\n";
        const auto size = bytes.find(end);
        const auto key = bytes.find(field);
        if (size == bytes.npos || key == bytes.npos)
            return 0;
        const auto begin = key + field.size();
        beast::sec_ws_accept_type accept;
        beast::make_sec_ws_accept(accept, bytes.substr(begin, bytes.find('\r', begin) - begin));
        arrived.answer += fmt::format("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                      "Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                                      std::string_view{accept.data(), accept.size()});
        is_open_ = true;
        return size + end.size();
    }

    std::size_t take_frame(std::string_view bytes, Arrived& arrived)
    {
        const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
        if (bytes.size() < 2)
            return 0;
        std::uint64_t size = octet(1) & 0x7f;
        const std::size_t width = size == 127 ? 8 : size == 126 ? 2 : 0;
        const auto head = 2 + width + 4; // a client masks all frames
        if (bytes.size() < head)
            return 0;
        if (width != 0)
            size = 0;
        for (std::size_t i = 0; i < width; ++i)
            size = size << 8 | octet(2 + i);
        if (bytes.size() - head < size)
            return 0;
        std::string payload{bytes.substr(head, static_cast<std::size_t>(size))};
        for (std::size_t i = 0; i < payload.size(); ++i)
            payload[i] = static_cast<char>(payload[i] ^ bytes[head - 4 + i % 4]);
        handle(octet(0), std::move(payload), arrived);
        return head + static_cast<std::size_t>(size);
    }

    void handle(unsigned first, std::string payload, Arrived& arrived)
    {
        const auto opcode = first & 0x0f;
        if (opcode == op_ping) {
            arrived.answer += make_frame(fin | op_pong, payload);
        } else if (opcode == op_close) {
            arrived.is_closed = true;
            if (payload.size() >= 2) {
                const auto high = static_cast<unsigned char>(payload[0]);
                const auto low = static_cast<unsigned char>(payload[1]);
                arrived.close_reason =
                    CloseReason{.code = static_cast<std::uint16_t>(high << 8 | low),
                                .reason = payload.substr(2)};
            }
            if (!std::exchange(has_closed_, true))
                arrived.close_answer = make_frame(fin | op_close, payload.substr(0, 2));
        } else if (opcode != op_pong) {
            if (opcode != 0)
                kind_ = opcode == op_text ? MessageKind::text : MessageKind::binary;
            fragments_ += payload;
            if ((first & fin) != 0)
                arrived.messages.push_back(
                    {.kind = kind_, .payload = std::exchange(fragments_, {})});
        }
    }

    bool is_open_ = false;    // both: guarded by the peer's mutex
    bool has_closed_ = false; // both: guarded by the peer's mutex
    MessageKind kind_{};      // both: guarded by the peer's mutex; of the present message
    std::string fragments_;   // both: guarded by the peer's mutex
};

} // namespace

std::unique_ptr<ServerProtocol> make_websocket_protocol()
{
    return std::make_unique<WebSocketProtocol>();
}

} // namespace sidecar
