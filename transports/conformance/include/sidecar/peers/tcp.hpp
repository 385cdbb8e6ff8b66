// TcpPeer<F>: the peer of a Tcp<F>, for check_transport(). It checks a framing of yours too.
#pragma once

#include <sidecar/peers/server.hpp>
#include <sidecar/transports/tcp.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar {

/// A server's end of a framing.
template <Framing F>
class FramingProtocol final : public ServerProtocol {
public:
    explicit FramingProtocol(F framing) : encoding_{framing}, decoding_{std::move(framing)} {}

    [[nodiscard]] std::string encode(MessageKind, std::string_view payload) override
    {
        std::vector<std::byte> bytes;
        encoding_.encode(bytes, std::as_bytes(std::span{payload}));
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    [[nodiscard]] std::size_t decode(std::string_view bytes, Arrived& arrived) override
    {
        for (std::size_t at = 0;;) {
            const auto rest = std::as_bytes(std::span{bytes.substr(at)});
            const auto found = decoding_.decode(rest, max_bytes);
            if (found.is_complete)
                arrived.messages.push_back(
                    {.payload = {reinterpret_cast<const char*>(found.payload.data()),
                                 found.payload.size()}});
            if (found.consumed_bytes == 0)
                return at;
            at += found.consumed_bytes;
        }
    }

private:
    static constexpr std::size_t max_bytes = 1u << 30;

    F encoding_; // both: guarded by the peer's mutex
    F decoding_; // both: guarded by the peer's mutex
};

/// The other end of a Tcp<F>: a server on the loopback. Side: see TransportPeer.
template <Framing F>
class TcpPeer : public ServerPeer {
public:
    explicit TcpPeer(F framing = {})
        : ServerPeer{std::make_unique<FramingProtocol<F>>(framing), small_buffered_bytes},
          framing_{std::move(framing)}
    {
    }

    [[nodiscard]] typename Tcp<F>::Options options() const
    {
        return {.host = "127.0.0.1",
                .port = port(),
                .framing = framing_,
                .max_message_bytes = 100'000,
                .socket = {.send_buffer_bytes = send_buffer_bytes}};
    }
    [[nodiscard]] std::vector<typename Tcp<F>::Options> bad_options() const
    {
        auto no_host = options(), no_port = options(), no_limit = options();
        no_host.host.clear();
        no_port.port = 0;
        no_limit.max_message_bytes = 0;
        return {no_host, no_port, no_limit};
    }
    [[nodiscard]] bool carries(MessageKind kind, std::string_view payload) const override
    {
        auto its_kind = MessageKind::binary;
        if constexpr (requires { F::kind; })
            its_kind = F::kind;
        return kind == its_kind && !(payload.empty() && is_raw);
    }
    [[nodiscard]] bool keeps_borders() const override { return !is_raw; }

private:
    static constexpr bool is_raw = std::same_as<F, Raw>;

    F framing_; // sidecar side
};

} // namespace sidecar
