// WebSocket: messages over RFC 6455, as a client.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/transport.hpp>
#include <sidecar/transports/compression_options.hpp>
#include <sidecar/transports/proxy_options.hpp>
#include <sidecar/transports/socket_options.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sidecar {

/// HTTP basic credentials, RFC 7617. Neither appears in any text.
struct BasicAuth {
    std::string user{}; ///< no ':' and no control character in it
    std::string password{};
};

/// The client's end of a WebSocket connection (RFC 6455). Each ping is answered, in order, of more
/// than 16 that wait the latest; also while the inbox is full, as far as the next 256 KiB that come.
/// A message above 256 KiB goes out in fragments, between which a pong or our Close may go. Text is
/// checked to be UTF-8 both ways; the failure that ends the link has the peer's close code and reason. close() succeeds only if the peer's Close has come. A peer that breaks the protocol is
/// told so and may read it for up to half a second before the link ends.
class SIDECAR_API WebSocket {
public:
    struct Options {
        /// "ws://host:port/path?query" or "wss://..." for TLS (RFC 3986; host a name, an IPv4
        /// address or an IPv6 address in brackets, with a zone like [fe80::1%25eth0] if need be;
        /// port 80, with TLS 443, if none is given). "ws+unix:/path/of.sock:/path?query" (or
        /// wss+unix:) for a Unix-domain socket, '@' in place of the first '/' for an abstract name.
        /// In texts the values of the query are masked.
        std::string url{};
        /// Larger messages from the peer end the link with too_big (it is told 1009), before memory
        /// is taken for them; bytes. Zero is bad_options.
        std::size_t max_message_bytes = 1u << 20;
        /// Further fields of the handshake's request, such as Authorization, in this order and as
        /// often as given. Host and User-Agent stand in place of ours. Those that the handshake is
        /// made of (Connection, Upgrade, Sec-WebSocket-*, Content-Length, Transfer-Encoding) are
        /// bad_options. Their values appear in no text.
        std::vector<std::pair<std::string, std::string>> headers{};
        /// What is offered as Sec-WebSocket-Protocol, the preferred one first. A peer that chooses
        /// another refuses the handshake; one that chooses none does not.
        std::vector<std::string> subprotocols{};
        /// The Origin field (RFC 6455 section 10.2), such as "https://example.com". Empty: none.
        std::string origin{};
        /// Sent as basic authorization. Together with `bearer`, or with an Authorization header, it
        /// is bad_options.
        std::optional<BasicAuth> basic_auth{};
        /// Sent as bearer authorization (RFC 6750); appears in no text. Empty: none.
        std::string bearer{};
        /// So many redirections (301, 302, 303, 307, 308) are followed, within the time of the
        /// start; only to the same or a more secure scheme. Another host or port gets only what is
        /// public: no `basic_auth`, no `bearer`, no header but such as User-Agent, no subprotocol
        /// that may be a token, no client's certificate. Zero: none; the redirection is a refusal
        /// with its Location.
        unsigned max_redirects = 0;
        /// A longer head of the handshake's answer fails the start; bytes. As much again may come
        /// in interim answers (1xx). Zero is bad_options.
        std::size_t max_head_bytes = 64u << 10;
        /// permessage-deflate is offered so, `.compression = CompressionOptions{}`; none: it is not.
        std::optional<CompressionOptions> compression{};
        bool no_delay = true;   ///< TCP_NODELAY
        bool keep_alive = true; ///< SO_KEEPALIVE, with the system's periods unless `socket` says
        SocketOptions socket{};
        ProxyOptions proxy{};
        /// For wss://. With ws://, unless a redirection may lead to wss://, it is bad_options.
        TlsOptions tls{};
    };

    explicit WebSocket(const Options& options);
    WebSocket(const WebSocket&) = delete;
    WebSocket& operator=(const WebSocket&) = delete;
    ~WebSocket();

    /// The URL, with the values of its query masked.
    [[nodiscard]] static std::string endpoint(const Options& options);
    /// Errors: bad_address for a URL that cannot be understood, bad_options for a header or a
    /// subprotocol that no request may carry, and for what TLS cannot use.
    [[nodiscard]] static Result<void> check(const Options& options);
    /// Errors: bad_message for text that is not UTF-8 (RFC 6455 section 5.6).
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind kind,
                                                 std::span<const std::byte> payload);

    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Context ctx, Batch batch);
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(Context ctx, CloseReason reason);
    void abort() noexcept;

private:
    class SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

static_assert(Transport<WebSocket>);

} // namespace sidecar
