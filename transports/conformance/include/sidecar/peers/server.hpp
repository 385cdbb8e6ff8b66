// ServerPeer: the peer of a transport on TCP, for check_transport(): a server on the loopback.
#pragma once

#include <sidecar/check_transport.hpp>
#include <sidecar/detail/export.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

/// The protocol of a ServerPeer: messages to bytes and back. Side: any thread, one at a time.
class SIDECAR_API ServerProtocol {
public:
    /// Results of decode(), added to the earlier ones.
    struct Arrived {
        std::vector<PeerMessage> messages{};
        std::string answer{};       ///< bytes to send now, such as a pong
        std::string close_answer{}; ///< likewise, unless the peer never answers a close
        bool is_closed = false;     ///< the transport has closed, as the protocol provides
        std::optional<CloseReason> close_reason{};
    };

    ServerProtocol() = default;
    ServerProtocol(const ServerProtocol&) = delete;
    ServerProtocol& operator=(const ServerProtocol&) = delete;
    virtual ~ServerProtocol();

    /// Returns the first bytes of a server that speaks first.
    [[nodiscard]] virtual std::string greeting() { return {}; }
    /// Returns the bytes of a message to the transport.
    [[nodiscard]] virtual std::string encode(MessageKind kind, std::string_view payload) = 0;
    /// Takes what is whole from the front of the bytes; returns the number of bytes taken.
    [[nodiscard]] virtual std::size_t decode(std::string_view bytes, Arrived& arrived) = 0;
    /// Whether a handshake has to end before messages may be sent, and whether it has ended.
    [[nodiscard]] virtual bool has_handshake() const { return false; }
    [[nodiscard]] virtual bool is_open() const { return true; }
    /// Returns the last bytes of a server that closes; behind them it ends its half of the stream.
    [[nodiscard]] virtual std::string close_bytes() { return {}; }
    /// Whether the end of the transport's half of the stream is its close.
    [[nodiscard]] virtual bool closes_by_end() const { return true; }
};

/// Returns a server's end of RFC 6455, without extensions.
[[nodiscard]] SIDECAR_API std::unique_ptr<ServerProtocol> make_websocket_protocol();

/// A server on a free port of 127.0.0.1, with a separate thread. It takes one connection. A
/// test derives its peer from it, and adds options(). Side: see TransportPeer. Blocks: the
/// destructor, until the thread has ended, a moment.
class SIDECAR_API ServerPeer : public TransportPeer {
public:
    /// `buffered_bytes`: how much a write() may hand to the system while nobody reads; see hold().
    explicit ServerPeer(std::unique_ptr<ServerProtocol> protocol,
                        std::size_t buffered_bytes = 12u << 20);
    ~ServerPeer() override;

    [[nodiscard]] std::uint16_t port() const noexcept;

    bool refuse_connect() override;
    bool hold_connect() override;
    bool deliver(MessageKind kind, std::string_view payload) override;
    bool deliver_part(MessageKind kind, std::string_view payload, std::size_t index,
                      std::size_t count) override;
    std::optional<std::vector<PeerMessage>> received() override;
    std::optional<std::size_t> hold() override;
    void release() override;
    bool reset() override;
    bool reset_after(std::size_t messages) override;
    bool close() override;
    bool hold_close() override;
    std::optional<bool> was_closed() override;
    std::optional<CloseReason> close_reason() override;

    /// A size of the transport's send buffer (SO_SNDBUF) with which `buffered_bytes` can be
    /// small_buffered_bytes: then the trials of writes that wait are quick.
    static constexpr std::size_t send_buffer_bytes = 64u << 10;
    static constexpr std::size_t small_buffered_bytes = 400'000;

private:
    struct SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // both: guarded by its mutex
};

} // namespace sidecar
