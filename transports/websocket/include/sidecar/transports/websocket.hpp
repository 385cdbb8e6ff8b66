// WebSocket: messages over RFC 6455, as a client; the server's end is in websocket_server.hpp.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/faults.hpp>
#include <sidecar/reconnect.hpp>
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

/// HTTP basic credentials (RFC 7617). They appear in no text.
struct BasicAuth {
    std::string user{}; ///< without ':' and control characters
    std::string password{};

    friend bool operator==(const BasicAuth&, const BasicAuth&) = default;
};

/// The client's end of a WebSocket connection (RFC 6455). It answers pings in order; of more than
/// 16 waiting answers it keeps the first 15 and the latest. It answers them also while the inbox is
/// full, in the next 256 KiB that arrive. It sends a message above 256 KiB in fragments, between
/// which a pong or our Close may go. It checks text for UTF-8 in both directions. The failure that
/// ends the link has the peer's close code and reason. close() succeeds only if the peer's Close
/// arrives. A peer that breaks the protocol gets a Close that says so, and up to half a second to
/// read it.
class SIDECAR_API WebSocket {
public:
    /// The server's end; include <sidecar/transports/websocket_server.hpp>.
    class Acceptor;
    /// Links with equal options share one copy.
    static constexpr bool shares_equal_options = true;

    /// The URL (RFC 3986): the host is a name, an IPv4 address, or an IPv6 address in brackets,
    /// maybe with a zone like [fe80::1%25eth0]. Without a port it is 80, with TLS 443. For a
    /// Unix-domain socket write "ws+unix:/path/of.sock:/path?query" (or wss+unix:), with '@' in
    /// place of the first '/' for an abstract name. Texts show the values of the query as "***".
    ///
    /// The headers, such as Authorization: a name may be repeated. Host and User-Agent replace
    /// ours. The fields of the handshake itself (Connection, Upgrade, Sec-WebSocket-*,
    /// Content-Length, Transfer-Encoding) are bad_options.
    ///
    /// Redirects (301, 302, 303, 307, 308) are followed within the time of the start, only to the
    /// same or a more secure scheme, and never to or from a Unix-domain socket. Another host or
    /// port gets public options only: no `basic_auth`, no `bearer`, no header except such as
    /// User-Agent, no subprotocol that may be a token, no client certificate.
    ///
    /// A peer's message above max_message_bytes gets close code 1009; no byte above the limit is
    /// kept.
    struct Options {
        /// "ws://host:port/path?query", "wss://..." for TLS, or "ws+unix:/path/of.sock:/path".
        std::string url{};
        /// A larger message from the peer ends the link with too_big; bytes. Zero: bad_options.
        std::size_t max_message_bytes = 1u << 20;
        /// Further fields of the request, in this order. Their values appear in no text.
        std::vector<std::pair<std::string, std::string>> headers{};
        /// Sec-WebSocket-Protocol, the preferred one first. The peer may choose none, but no other.
        std::vector<std::string> subprotocols{};
        /// The Origin field (RFC 6455 section 10.2), such as "https://example.com". Empty: none.
        std::string origin{};
        /// Basic authorization; not together with `bearer` or an Authorization header: bad_options.
        std::optional<BasicAuth> basic_auth{};
        /// The token of bearer authorization (RFC 6750); appears in no text. Empty: none.
        std::string bearer{};
        /// The number of redirects to follow. Zero: a redirect is a refusal with its Location.
        unsigned max_redirects = 0;
        /// Limits the answer's head, and all interim answers (1xx); bytes. Zero: bad_options.
        std::size_t max_head_bytes = 64u << 10;
        /// The offer of permessage-deflate, `.compression = CompressionOptions{}`; empty: no offer.
        std::optional<CompressionOptions> compression{};
        bool no_delay = true;      ///< TCP_NODELAY
        bool tcp_keepalive = true; ///< SO_KEEPALIVE; the periods are in `socket`
        SocketOptions socket{};
        ProxyOptions proxy{};
        /// For wss://. With ws:// it is bad_options, unless a redirect may lead to wss://.
        TlsOptions tls{};
        /// Faults that the library injects into the connection, for tests. Empty (default): none.
        std::optional<Faults> faults{};
        /// Takes the faults from the environment variable SIDECAR_FAULTS if `faults` is empty; see
        /// parse_faults(). Read as ProxyOptions says of its environment. Default: false.
        bool faults_from_environment = false;

        friend bool operator==(const Options&, const Options&) = default;
    };

    /// Copies the options, which must have passed check(). Does no I/O.
    explicit WebSocket(const Options& options, const Attempt& attempt = {});
    WebSocket(const WebSocket&) = delete;
    WebSocket& operator=(const WebSocket&) = delete;
    ~WebSocket();

    /// Returns the URL with the values of its query redacted.
    [[nodiscard]] static std::string endpoint(const Options& options);
    /// Side: both. Blocks: while it reads the files of TLS. Errors: bad_address for an invalid URL;
    /// bad_options for a header or a subprotocol that no request may carry, and for any option that
    /// the socket, the proxy, TLS, the compression or Faults cannot use; no_resources and tls_failed of
    /// TLS.
    [[nodiscard]] static Result<void> check(const Options& options);
    /// Errors: bad_message for text that is not UTF-8 (RFC 6455 section 5.6).
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind kind,
                                                 std::span<const std::byte> payload);

    // --- the calls of Transport; the link makes them on the loop's thread
    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Context ctx, Batch batch);
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(Context ctx, CloseReason reason);
    void abort() noexcept;
    [[nodiscard]] ConnectionInfo connection_info();
    [[nodiscard]] std::string failure_note() const;

private:
    class SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

static_assert(Transport<WebSocket>);

} // namespace sidecar
