// WebSocket::Acceptor: a server of messages over RFC 6455, and of a few pages.
#pragma once

#include <sidecar/acceptor.hpp>
#include <sidecar/client_overflow.hpp>
#include <sidecar/options.hpp>
#include <sidecar/transports/tls_server_options.hpp>
#include <sidecar/transports/websocket.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar {

/// The server's end: `Server<WebSocket>`. It answers each request over HTTP/1.1: with 101 to the
/// handshake of a WebSocket (RFC 6455 section 4.2), with a page, or with the status that says what
/// is wrong. After any answer but 101 the connection ends. Its calls are those of Acceptor. Side:
/// the loop's thread, except endpoint(), check() and check_send().
class SIDECAR_API WebSocket::Acceptor {
public:
    /// A client's request. The members of ConnectionInfo say who connects, with which certificate,
    /// and what it asks for; `headers` are the request's.
    struct Request : ConnectionInfo {
        std::string method{};
        std::vector<std::string> subprotocols{}; ///< that the client offers, its preferred one first
    };

    /// The answer of on_request.
    struct RequestAnswer {
        /// 101 accepts; any status from 300 to 599 refuses.
        unsigned status = 101;
        /// One that the client offers; empty: the first of Options::subprotocols that it offers.
        std::string subprotocol{};
        /// Further fields of the answer, such as Location or Set-Cookie.
        std::vector<std::pair<std::string, std::string>> headers{};
        std::string body{}; ///< of a refusal, plain text; empty: the status in words
    };
    /// Decides about each handshake that is otherwise valid. Side: the loop's thread, beside other
    /// clients, within handshake_timeout; must not block. An exception is a 500 answer. Lifetime:
    /// the request lives until the coroutine ends.
    using OnRequest = std::function<Task<RequestAnswer>(Context, const Request&)>;

    /// What GET and HEAD of a path get, with an ETag; a client that has it gets 304.
    struct Page {
        std::string content_type = "text/html; charset=utf-8";
        std::string bytes{};
        /// Makes the bytes for each request, in place of `bytes`. Side: the loop's thread; must not
        /// block. An exception is a 500 answer.
        std::function<std::string()> make{};
    };

    /// It listens on one of: `address` and `port`, `unix_path`, `activated`.
    struct Options {
        /// An address of this machine ("::1", "fe80::1%eth0"), or a name. "localhost" is 127.0.0.1
        /// and ::1, "0.0.0.0" all IPv4 addresses, "::" all addresses.
        std::string address = "127.0.0.1";
        std::uint16_t port = 0; ///< 0: the system chooses one; Server::port() returns it
        /// The file of a Unix-domain socket, or '@' and an abstract name, which every user of the
        /// machine can connect to. A file that a server left is removed, if nobody listens there.
        std::string unix_path{};
        unsigned unix_mode = 0600; ///< of that file
        /// The name of sockets that systemd passes (FileDescriptorName= of the .socket unit, which
        /// needs Accept=no); all of this name.
        std::string activated{};
        std::optional<TlsServerOptions> tls{}; ///< empty: no encryption
        /// A client above this limit, or one of the next two, gets 503 with Retry-After. 0: no limit.
        std::size_t max_clients = 1000;
        /// An IPv6 address counts by its /64. Not for Unix-domain sockets. 0: no limit.
        std::size_t max_clients_per_address = 100;
        double max_connections_per_second = 200; ///< one second's number may come at once; 0: no limit
        /// The path of the WebSocket, as in the request ("/feed"); others get 404. Empty: any path.
        std::string path{};
        /// The origins whose pages may connect ("https://example.com"; "*": any). Empty: only pages
        /// of the host that the request names. Others get 403. A program that is no browser sends
        /// no origin, and may connect. See RFC 6455 section 10.2.
        ///
        /// A server that browsers reach by one name only should list that origin: a page whose name
        /// resolves to this machine ("DNS rebinding") names its own host too.
        std::vector<std::string> origins{};
        /// Sec-WebSocket-Protocol, the preferred one first. A client that offers none of them gets
        /// none.
        std::vector<std::string> subprotocols{};
        /// What to accept of a client's offer of permessage-deflate; empty: nothing.
        std::optional<CompressionOptions> compression{};
        /// Limits a request's head, in bytes; 431. Zero: bad_options.
        std::size_t max_head_bytes = 16u << 10;
        OnRequest on_request{}; ///< empty: accepts each; see also require_bearer()
        /// Pages by their path, such as "/" and "/metrics". A page's path may also be the
        /// WebSocket's. With pages, other paths than `path` get 404.
        std::map<std::string, Page> pages{};
        bool no_delay = true;      ///< TCP_NODELAY
        bool tcp_keepalive = true; ///< SO_KEEPALIVE; periods: `socket`, or the system's
        SocketOptions socket{};    ///< of the clients' sockets; without bind_address
        /// Faults that the library injects into each client's connection, for tests.
        std::optional<Faults> faults{};
        /// For TLS, the request, on_request and the answer. A page must be taken in this time too.
        Duration handshake_timeout = std::chrono::seconds{5};
        /// Limit for messages of a client, in bytes; a larger one ends its link with too_big, and the
        /// client gets close code 1009.
        std::size_t max_message_bytes = std::size_t{64} << 10;
        QueueLimits outbox{}; ///< of each client
        ClientOverflow overflow{};
    };

    /// A client that was accepted. Its calls are those of Transport. A request that gets no
    /// WebSocket fails connect() with handshake_refused and the status; after a page it fails with
    /// link_closed.
    class SIDECAR_API Client {
    public:
        class SIDECAR_LOCAL Accepted;
        struct Options {
            std::shared_ptr<Accepted> accepted{};
            std::size_t max_message_bytes = 0;
        };

        explicit Client(const Options& options);
        Client(const Client&) = delete;
        Client& operator=(const Client&) = delete;
        ~Client();

        [[nodiscard]] static std::string endpoint(const Options& options);
        [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind kind,
                                                     std::span<const std::byte> payload);
        /// 20 s each: proxies between a browser and a server often end a silence of a minute.
        [[nodiscard]] static Liveness default_liveness() noexcept
        {
            return {.ping_interval = std::chrono::seconds{20},
                    .ping_timeout = std::chrono::seconds{20}};
        }

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

    /// Copies the options, which must have passed check(). Does no I/O.
    explicit Acceptor(const Options& options);
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;
    ~Acceptor();

    /// Returns "ws://127.0.0.1:8080", "wss://...", "ws+unix:/run/feed.sock".
    [[nodiscard]] static std::string endpoint(const Options& options);
    /// Checks the options, and reads the certificates. On an application thread it also reads the
    /// variables of systemd. Errors: bad_address, bad_options; no_resources and tls_failed of TLS.
    [[nodiscard]] static Result<void> check(const Options& options);
    /// Errors: bad_message for text that is not UTF-8 (RFC 6455 section 5.6).
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind kind,
                                                 std::span<const std::byte> payload);

    Task<> bind(Context ctx);
    Task<Client::Options> accept(Context ctx);
    void close() noexcept;
    void abort() noexcept { close(); }
    [[nodiscard]] ConnectionInfo connection_info() const;

private:
    class SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

static_assert(Acceptor<WebSocket::Acceptor>);

/// Returns an on_request that accepts requests with this token (RFC 6750) in their Authorization
/// field, and refuses others with 401. It compares in constant time. An empty token refuses all.
[[nodiscard]] SIDECAR_API WebSocket::Acceptor::OnRequest require_bearer(std::string token);

} // namespace sidecar
