// Tcp<Framing>: messages over a TCP connection.
#pragma once

#include <sidecar/transport.hpp>
#include <sidecar/transports/framing.hpp>

#include <memory>
#include <string>
#include <utility>

namespace sidecar {

namespace detail {

struct TcpTarget {
    std::string host;
    std::uint16_t port = 0;
    bool no_delay = true;
    bool keep_alive = true;
};
[[nodiscard]] std::string tcp_endpoint(const std::string& host, std::uint16_t port);
[[nodiscard]] Result<void> check_tcp(const std::string& host, std::uint16_t port);
[[nodiscard]] Failure tcp_too_big(const std::string& endpoint, std::size_t bytes, std::size_t limit);

/// The part of Tcp that knows no framing. Side: the loop's thread.
class TcpStream {
public:
    /// Beyond this much a batch is written in pieces.
    static constexpr std::size_t chunk_bytes = 256u << 10;

    explicit TcpStream(TcpTarget target);
    TcpStream(const TcpStream&) = delete;
    TcpStream& operator=(const TcpStream&) = delete;
    ~TcpStream();

    Task<> connect(Context ctx);
    /// Waits for more bytes behind unread(). At the end of the stream, and where unread() would pass `limit_bytes`
    /// without a message in it, throws.
    Task<> fill(std::size_t missing_bytes, std::size_t limit_bytes);
    [[nodiscard]] std::span<const std::byte> unread() const noexcept;
    void consume(std::size_t bytes) noexcept;
    /// What flush() writes.
    [[nodiscard]] std::vector<std::byte>& out() noexcept;
    Task<> flush();
    void check_may_write() const;
    Task<> close();
    void abort() noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

} // namespace detail

/// The client's end of a TCP connection whose messages stand in the stream as `F` says. A peer that ends the stream ends
/// the link with `disconnected`. To close is to end our half of the stream and to wait for the peer to end his.
template <Framing F>
class Tcp {
public:
    struct Options {
        std::string host{};                       ///< a name, an IPv4 address or an IPv6 address (without brackets)
        std::uint16_t port = 0;
        F framing{};
        std::size_t max_message_bytes = 1u << 20; ///< larger messages end the link with too_big; bytes
        bool no_delay = true;                     ///< TCP_NODELAY
        bool keep_alive = true;                   ///< SO_KEEPALIVE, with the system's periods
    };

    explicit Tcp(const Options& options)
        : framing_{options.framing},
          max_message_bytes_{options.max_message_bytes},
          stream_{{options.host, options.port, options.no_delay, options.keep_alive}}
    {
    }

    [[nodiscard]] static std::string endpoint(const Options& options)
    {
        return detail::tcp_endpoint(options.host, options.port);
    }
    /// Errors: bad_address (no host, no port), bad_options (the framing's settings).
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        if constexpr (requires { { options.framing.check() } -> std::same_as<Result<void>>; }) {
            if (auto checked = options.framing.check(); !checked)
                return checked;
        }
        return detail::check_tcp(options.host, options.port);
    }
    /// Errors: too_big, bad_message (the framing cannot carry it).
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind, std::span<const std::byte> payload)
    {
        if (payload.size() > options.max_message_bytes)
            return detail::tcp_too_big(endpoint(options), payload.size(), options.max_message_bytes);
        if constexpr (requires { { options.framing.check_send(payload) } -> std::same_as<Result<void>>; })
            return options.framing.check_send(payload);
        else
            return {};
    }

    Task<> connect(Context ctx) { return stream_.connect(ctx); }

    Task<> read(Context, Sink& sink)
    {
        while (!pass_on(sink))
            co_await stream_.fill(missing_bytes_, max_message_bytes_ + overhead_bytes);
    }

    Task<> write(Context, Batch batch)
    {
        std::size_t count = 0;
        for (auto at = batch.begin(); at != batch.end();) {
            stream_.check_may_write();
            framing_.encode(stream_.out(), (*at).data);
            ++at;
            ++count;
            if (stream_.out().size() >= detail::TcpStream::chunk_bytes) {
                co_await stream_.flush();
                batch.mark_written(std::exchange(count, 0));
            }
        }
        co_await stream_.flush();
    }

    Task<> close(Context, CloseReason) { return stream_.close(); }
    void abort() noexcept { stream_.abort(); }

private:
    /// What a framing may put around a message, at most.
    static constexpr std::size_t overhead_bytes = 4096;

    /// Puts every complete message; true if read() is to return: something was put, or there was no room for it.
    bool pass_on(Sink& sink)
    {
        constexpr auto kind = [] {
            if constexpr (requires { F::kind; })
                return F::kind;
            else
                return MessageKind::bytes;
        }();
        const auto unread = stream_.unread();
        std::size_t at = 0;
        bool is_done = false;
        for (;;) {
            const auto decoded = framing_.decode(unread.subspan(at), max_message_bytes_);
            missing_bytes_ = decoded.missing_bytes;
            if (!decoded.is_complete)
                break;
            if (decoded.consumed_bytes == 0)
                throw Exception{detail::bad_framing("its decode() gave a message and consumed nothing")};
            is_done = true;
            if (!sink.put(kind, decoded.payload))
                break;
            at += decoded.consumed_bytes;
        }
        stream_.consume(at);
        return is_done;
    }

    F framing_;                       // sidecar side
    const std::size_t max_message_bytes_; // sidecar side
    std::size_t missing_bytes_ = 0;   // sidecar side
    detail::TcpStream stream_;        // sidecar side
};

static_assert(Transport<Tcp<LengthPrefix>> && Transport<Tcp<Lines>> && Transport<Tcp<Raw>> && Transport<Tcp<FixedSize<8>>>);

} // namespace sidecar
