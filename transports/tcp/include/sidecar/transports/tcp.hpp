// Tcp<Framing>: messages over a TCP connection.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/faults.hpp>
#include <sidecar/reconnect.hpp>
#include <sidecar/transport.hpp>
#include <sidecar/transports/detail/codec.hpp>
#include <sidecar/transports/framing.hpp>
#include <sidecar/transports/proxy_options.hpp>
#include <sidecar/transports/socket_options.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sidecar {

/// How a TCP close goes on after it has written everything and ended our half of the stream.
enum class TcpClose : std::uint8_t {
    /// It waits until the peer ends its half: the only sign that the peer has read everything. A
    /// peer that keeps its half open costs the close's time, and the stop is not clean.
    after_peer,
    /// It ends the connection without waiting, and the stop is clean. If the peer still sends, the
    /// system resets the connection, and the peer may lose our last messages.
    at_once,
};

namespace detail {

struct TcpTarget {
    std::string host;
    std::uint16_t port = 0;
    bool no_delay = true;
    bool tcp_keepalive = true;
    SocketOptions socket{};
    ProxyOptions proxy{};
    std::optional<TlsOptions> tls{};
    TcpClose close = TcpClose::after_peer;
    std::optional<Faults> faults{};
    bool faults_from_environment = false;
};
[[nodiscard]] SIDECAR_API std::string tcp_endpoint(const std::string& host, std::uint16_t port);
/// Checks the options that do not depend on the framing, and `max_message_bytes`.
[[nodiscard]] SIDECAR_API Result<void> validate(const TcpTarget& target,
                                                std::size_t max_message_bytes);
/// Adds the endpoint, which a framing does not know.
[[nodiscard]] SIDECAR_API Failure with_endpoint(const Failure& failure,
                                                const std::string& endpoint);

/// A connection that an acceptor hands to its client.
struct AcceptedTcp;

/// The part of Tcp, and of its acceptor's clients, that does not depend on the framing. Side: the
/// loop's thread.
class SIDECAR_API TcpConnection {
public:
    TcpConnection(TcpTarget target, const Attempt& attempt);
    /// Takes the accepted connection; connect() then does the server's part of the opening.
    explicit TcpConnection(AcceptedTcp& accepted);
    TcpConnection(const TcpConnection&) = delete;
    TcpConnection& operator=(const TcpConnection&) = delete;
    ~TcpConnection();

    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink, stream::Decoder& decoder);
    Task<> write(Batch batch, stream::Encoder& encoder);
    Task<> close(Context ctx);
    void abort() noexcept;
    [[nodiscard]] ConnectionInfo connection_info() const;
    [[nodiscard]] std::string failure_note() const;

private:
    struct SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

/// Adapts a framing to the reader and the writer of a connection. Owned by its Tcp. Side: the
/// loop's thread.
template <Framing F>
class FramingCodec final : public stream::Decoder, public stream::Encoder {
public:
    FramingCodec(F framing, std::size_t max_message_bytes)
        : framing_{std::move(framing)}, max_message_bytes_{max_message_bytes}
    {
    }

    stream::DecodeResult decode(std::span<const std::byte> unread, Sink& sink) override
    {
        auto pass = stream::decode_messages(unread, sink, kind(), [this](auto bytes) {
            const auto decoded = framing_.decode(bytes, max_message_bytes_);
            if (decoded.consumed_bytes > bytes.size()
                || (decoded.is_complete && decoded.consumed_bytes == 0))
                throw Exception{bad_framing(
                    "its decode() consumed more than there is, or nothing for a message")};
            return decoded;
        });
        const auto left = unread.size() - pass.consumed_bytes;
        if (!pass.refused && left > max_message_bytes_ + overhead_bytes)
            throw_no_end(left, max_message_bytes_);
        return pass;
    }

    void encode(stream::Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) override
    {
        for (; at != end && !chunk.is_full(); ++at) {
            const auto payload = at->bytes();
            if constexpr (has_head_and_tail) {
                if (payload.size() >= stream::Chunk::min_borrowed_bytes) {
                    framing_.encode_head(chunk.bytes(), payload);
                    chunk.borrow(payload);
                    framing_.encode_tail(chunk.bytes(), payload);
                    chunk.end_message();
                    continue;
                }
            }
            framing_.encode(chunk.bytes(), payload);
            chunk.end_message();
        }
    }

private:
    /// The most bytes that a framing may put around a message.
    static constexpr std::size_t overhead_bytes = 4096;
    static constexpr bool has_head_and_tail =
        requires(const F& f, std::vector<std::byte>& out, std::span<const std::byte> payload) {
            f.encode_head(out, payload);
            f.encode_tail(out, payload);
        };

    [[nodiscard]] static constexpr MessageKind kind() noexcept
    {
        if constexpr (requires { F::kind; })
            return F::kind;
        else
            return MessageKind::binary;
    }

    F framing_;                           // sidecar side
    const std::size_t max_message_bytes_; // sidecar side
};

/// Checks the framing's settings, if it can.
template <class F>
[[nodiscard]] Result<void> check_framing(const F& framing, std::size_t max_message_bytes,
                                         const std::string& endpoint)
{
    if constexpr (requires {
                      {
                          framing.check(std::size_t{})
                      } -> std::same_as<Result<void>>;
                  }) {
        if (auto checked = framing.check(max_message_bytes); !checked)
            return checked.error().with_attempt(checked.error().attempted(), endpoint);
    }
    return {};
}

/// Checks whether the framing can carry the payload, if it can say so. `endpoint()` names the peer
/// in a failure; it is called for one only, since each send comes here.
template <class F, class Endpoint>
[[nodiscard]] Result<void> check_framed(const F& framing, std::span<const std::byte> payload,
                                        [[maybe_unused]] Endpoint endpoint)
{
    if constexpr (requires {
                      {
                          framing.check_send(payload)
                      } -> std::same_as<Result<void>>;
                  }) {
        if (auto checked = framing.check_send(payload); !checked)
            return checked.error().with_attempt(checked.error().attempted(), endpoint());
    }
    return {};
}

/// The calls of Transport for a connection with a framing, which both ends of Tcp have. Side: the
/// loop's thread.
template <class F>
class FramedConnection {
    static_assert(FramingForm<F>::is_whole);

public:
    Task<> connect(Context ctx) { return connection_.connect(ctx); }
    Task<> read(Context ctx, Sink& sink) { return connection_.read(ctx, sink, codec_); }
    Task<> write(Context, Batch batch) { return connection_.write(batch, codec_); }
    Task<> close(Context ctx, CloseReason) { return connection_.close(ctx); }
    void abort() noexcept { connection_.abort(); }
    [[nodiscard]] ConnectionInfo connection_info() { return connection_.connection_info(); }
    [[nodiscard]] std::string failure_note() const { return connection_.failure_note(); }

protected:
    /// `connection`: the arguments of TcpConnection.
    template <class... Arguments>
    FramedConnection(const F& framing, std::size_t max_message_bytes, Arguments&&... connection)
        : codec_{framing, max_message_bytes}, connection_{std::forward<Arguments>(connection)...}
    {
    }
    ~FramedConnection() = default;

private:
    FramingCodec<F> codec_;    // sidecar side
    TcpConnection connection_; // sidecar side
};

} // namespace detail

/// The client's end of a TCP connection; `F` divides its stream into messages. A peer that ends the
/// stream ends the link with `disconnected`. close() ends our half of the stream and waits until
/// the peer ends its half (TcpClose).
/// Its calls are those of Transport. Side: the loop's thread, except check() and check_send().
template <class F>
class Tcp : public detail::FramedConnection<F> {
public:
    /// The server's end, in sidecar/transports/tcp_server.hpp.
    class Acceptor;
    /// Links with equal options share one copy.
    static constexpr bool shares_equal_options = true;

    /// `host`: an IPv6 address has no brackets, but may have a zone; "unix:@name" is an abstract
    /// Unix-domain socket. `max_message_bytes` does not limit sent messages: the outbox and the
    /// framing do.
    struct Options {
        /// A name; an IPv4 or IPv6 address ("fe80::1%eth0"); "unix:/path" or "unix:@name".
        std::string host{};
        std::uint16_t port = 0; ///< 0 for a Unix-domain socket, otherwise not 0
        F framing{};
        /// Limit for messages from the peer, in bytes; a larger one ends the link with too_big.
        std::size_t max_message_bytes = 1u << 20;
        bool no_delay = true;      ///< TCP_NODELAY
        bool tcp_keepalive = true; ///< SO_KEEPALIVE; periods: `socket`, or the system's
        SocketOptions socket{};
        ProxyOptions proxy{};
        std::optional<TlsOptions> tls{}; ///< empty: no encryption
        TcpClose close = TcpClose::after_peer;
        /// Faults that the library injects into the connection, for tests. Empty (default): none.
        std::optional<Faults> faults{};
        /// Takes the faults from the environment variable SIDECAR_FAULTS if `faults` is empty; see
        /// parse_faults(). Read as ProxyOptions says of its environment. Default: false.
        bool faults_from_environment = false;

        friend bool operator==(const Options&, const Options&) = default;
    };

    /// Copies the options, which must have passed check(). Does no I/O.
    explicit Tcp(const Options& options, const Attempt& attempt = {})
        : detail::FramedConnection<F>{options.framing, options.max_message_bytes, target(options),
                                      attempt}
    {
    }

    [[nodiscard]] static std::string endpoint(const Options& options)
    {
        return detail::tcp_endpoint(options.host, options.port);
    }
    /// Checks the options. Errors: bad_address (no host, no port, a bad path), bad_options (a limit
    /// of 0, the framing's settings, those of the socket, of the proxy and of TLS, faults).
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        if (auto checked = detail::validate(target(options), options.max_message_bytes); !checked)
            return checked;
        return detail::check_framing(options.framing, options.max_message_bytes, endpoint(options));
    }
    /// Checks a payload for send(). Errors: too_big, bad_message (the framing cannot carry it).
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind,
                                                 std::span<const std::byte> payload)
    {
        return detail::check_framed(options.framing, payload, [&] { return endpoint(options); });
    }

private:
    [[nodiscard]] static detail::TcpTarget target(const Options& options)
    {
        return {.host = options.host,
                .port = options.port,
                .no_delay = options.no_delay,
                .tcp_keepalive = options.tcp_keepalive,
                .socket = options.socket,
                .proxy = options.proxy,
                .tls = options.tls,
                .close = options.close,
                .faults = options.faults,
                .faults_from_environment = options.faults_from_environment};
    }
};

static_assert(Transport<Tcp<LengthPrefix>> && Transport<Tcp<Lines>> && Transport<Tcp<Raw>>
              && Transport<Tcp<FixedSize<8>>>);

} // namespace sidecar
