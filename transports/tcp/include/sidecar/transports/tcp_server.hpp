// Tcp<Framing>::Acceptor: a server of messages over TCP connections.
#pragma once

#include <sidecar/acceptor.hpp>
#include <sidecar/client_overflow.hpp>
#include <sidecar/options.hpp>
#include <sidecar/transports/detail/listen_target.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/tls_server_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace sidecar {

namespace detail {

[[nodiscard]] SIDECAR_API std::string tcp_endpoint(const stream::ListenTarget& target);
/// Checks the options that do not depend on the framing, and `max_message_bytes`.
[[nodiscard]] SIDECAR_API Result<void> validate(const stream::ListenTarget& target,
                                                const std::optional<TlsServerOptions>& tls,
                                                std::size_t max_message_bytes);
/// Names the client in failures.
[[nodiscard]] SIDECAR_API std::string tcp_peer(const AcceptedTcp& accepted);

/// The part of Tcp's acceptor that does not depend on the framing. Side: the loop's thread.
class SIDECAR_API TcpListener {
public:
    TcpListener(stream::ListenTarget target, std::optional<TlsServerOptions> tls, TcpClose close);
    TcpListener(const TcpListener&) = delete;
    TcpListener& operator=(const TcpListener&) = delete;
    ~TcpListener();

    Task<> bind(Context ctx);
    Task<std::shared_ptr<AcceptedTcp>> accept(Context ctx);
    void close() noexcept;
    [[nodiscard]] std::string local() const;

private:
    struct SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

} // namespace detail

/// The server's end: `Server<Tcp<Lines>>`. A client that the limits refuse is closed at once. Its
/// calls are those of Acceptor. Side: the loop's thread, except endpoint(), check() and
/// check_send().
template <class F>
class Tcp<F>::Acceptor {
public:
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
        std::size_t max_clients = 1000;        ///< 0: no limit
        /// An IPv6 address counts by its /64. Not for Unix-domain sockets. 0: no limit.
        std::size_t max_clients_per_address = 100;
        double max_connections_per_second =
            200; ///< one second's number may come at once; 0: no limit
        F framing{};
        bool no_delay = true;      ///< TCP_NODELAY
        bool tcp_keepalive = true; ///< SO_KEEPALIVE; periods: `socket`, or the system's
        SocketOptions socket{};    ///< of the clients' sockets; without bind_address
        TcpClose close = TcpClose::after_peer;
        /// Faults that the library injects into each client's connection, for tests.
        std::optional<Faults> faults{};
        Duration handshake_timeout = std::chrono::seconds{5}; ///< for TLS
        /// Limit for messages of a client, in bytes; a larger one ends its link with too_big.
        std::size_t max_message_bytes = std::size_t{64} << 10;
        QueueLimits outbox{}; ///< of each client
        ClientOverflow overflow{};
    };

    /// A client that was accepted. Its calls are those of Transport.
    class Client : public detail::FramedConnection<F> {
    public:
        struct Options {
            std::shared_ptr<detail::AcceptedTcp> accepted{};
            F framing{};
            std::size_t max_message_bytes = 0;
        };

        explicit Client(const Options& options)
            : detail::FramedConnection<F>{options.framing, options.max_message_bytes,
                                          *options.accepted}
        {
        }

        [[nodiscard]] static std::string endpoint(const Options& options)
        {
            return detail::tcp_peer(*options.accepted);
        }
        [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind,
                                                     std::span<const std::byte> payload)
        {
            return detail::check_framed(options.framing, payload,
                                        [&] { return endpoint(options); });
        }
    };

    /// Copies the options, which must have passed check(). Does no I/O.
    explicit Acceptor(const Options& options)
        : framing_{options.framing},
          max_message_bytes_{options.max_message_bytes},
          listener_{stream::listen_target(options), options.tls, options.close}
    {
    }

    [[nodiscard]] static std::string endpoint(const Options& options)
    {
        return detail::tcp_endpoint(stream::listen_target(options));
    }
    /// Checks the options, and reads the certificates. On an application thread it also reads the
    /// variables of systemd. Errors: bad_address, bad_options, as Tcp::check(); no such socket of
    /// systemd is bad_options too.
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        if (auto checked = detail::validate(stream::listen_target(options), options.tls,
                                            options.max_message_bytes);
            !checked)
            return checked;
        return detail::check_framing(options.framing, options.max_message_bytes, endpoint(options));
    }
    /// Checks a payload for broadcast(). Errors: as Tcp::check_send().
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind,
                                                 std::span<const std::byte> payload)
    {
        return detail::check_framed(options.framing, payload, [&] { return endpoint(options); });
    }

    Task<> bind(Context ctx) { return listener_.bind(ctx); }
    Task<typename Client::Options> accept(Context ctx)
    {
        typename Client::Options client{.framing = framing_,
                                        .max_message_bytes = max_message_bytes_};
        client.accepted = co_await listener_.accept(ctx);
        co_return client;
    }
    void close() noexcept { listener_.close(); }
    void abort() noexcept { listener_.close(); }
    [[nodiscard]] ConnectionInfo connection_info() const { return {.local = listener_.local()}; }

private:
    const F framing_;                     // sidecar side
    const std::size_t max_message_bytes_; // sidecar side
    detail::TcpListener listener_;        // sidecar side
};

static_assert(Acceptor<Tcp<LengthPrefix>::Acceptor> && Acceptor<Tcp<Lines>::Acceptor>);

} // namespace sidecar
