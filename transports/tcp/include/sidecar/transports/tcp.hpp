// Tcp<Framing>: messages over a TCP connection.
#pragma once

#include <sidecar/transport.hpp>
#include <sidecar/transports/framing.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sidecar {

namespace detail {

struct TcpTarget {
    std::string host;
    std::uint16_t port = 0;
    bool no_delay = true;
    bool keep_alive = true;
};
[[nodiscard]] std::string tcp_endpoint(const std::string& host, std::uint16_t port);
[[nodiscard]] Result<void> check_tcp(const std::string& host, std::uint16_t port,
                                     std::size_t max_message_bytes);
[[nodiscard]] Failure tcp_too_big(const std::string& endpoint, std::size_t bytes,
                                  std::size_t limit);
/// A framing does not know whom it talks to.
[[nodiscard]] Failure with_endpoint(const Failure& failure, const std::string& endpoint);

/// The part of Tcp that knows no framing. Side: the loop's thread.
class TcpStream {
public:
    explicit TcpStream(TcpTarget target);
    TcpStream(const TcpStream&) = delete;
    TcpStream& operator=(const TcpStream&) = delete;
    ~TcpStream();

    Task<> connect(Context ctx);
    /// Waits for more bytes behind unread(). At the end of the stream, and where unread() has
    /// passed `limit_bytes` without a message in it, throws. Gives how many have come. Before
    /// anything else is waited for, what was put must be consumed.
    Task<std::size_t> fill(Sink& sink, std::size_t missing_bytes, std::size_t limit_bytes);
    /// While unread() is empty: waits for bytes, puts them into `rest` and what comes behind them
    /// into unread(); gives how many went into `rest`. `come_bytes`: how many of this message had
    /// come before.
    Task<std::size_t> fill_into(std::span<std::byte> rest, std::size_t come_bytes);
    /// The same with what is there already; zero: nothing.
    [[nodiscard]] std::size_t try_fill_into(std::span<std::byte> rest, std::size_t come_bytes);
    /// How much a read may take in this way before it hands over.
    static const std::size_t batch_bytes;
    [[nodiscard]] std::span<const std::byte> unread() const noexcept;
    void consume(std::size_t bytes);
    /// Notes that what came is no message, and throws that with all that is known.
    [[noreturn]] void fail_read(std::exception_ptr exception);

    /// Writes some of it; gives how much. After close() has begun it throws.
    Task<std::size_t> write_some(std::span<const std::byte> bytes);
    Task<> close();
    void abort() noexcept;

private:
    class Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

} // namespace detail

/// The client's end of a TCP connection whose messages stand in the stream as `F` says. A peer that
/// ends the stream ends the link with `disconnected`. To close is to end our half of the stream and
/// to wait for the peer to end his.
template <Framing F>
class Tcp {
public:
    struct Options {
        std::string host{}; ///< a name, an IPv4 address or an IPv6 address (without brackets)
        std::uint16_t port = 0;
        F framing{};
        /// Larger messages end the link with too_big; bytes
        std::size_t max_message_bytes = 1u << 20;
        bool no_delay = true;   ///< TCP_NODELAY
        bool keep_alive = true; ///< SO_KEEPALIVE, with the system's periods
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
    /// Errors: bad_address (no host, no port), bad_options (a limit of 0, the framing's settings).
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        if (auto checked = detail::check_tcp(options.host, options.port, options.max_message_bytes);
            !checked)
            return checked;
        if constexpr (requires {
                          {
                              options.framing.check(std::size_t{})
                          } -> std::same_as<Result<void>>;
                      }) {
            if (auto checked = options.framing.check(options.max_message_bytes); !checked)
                return detail::with_endpoint(checked.error(), endpoint(options));
        }
        return {};
    }
    /// Errors: too_big, bad_message (the framing cannot carry it).
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind,
                                                 std::span<const std::byte> payload)
    {
        if (payload.size() > options.max_message_bytes)
            return detail::tcp_too_big(endpoint(options), payload.size(),
                                       options.max_message_bytes);
        if constexpr (requires {
                          {
                              options.framing.check_send(payload)
                          } -> std::same_as<Result<void>>;
                      }) {
            if (auto checked = options.framing.check_send(payload); !checked)
                return detail::with_endpoint(checked.error(), endpoint(options));
        }
        return {};
    }

    Task<> connect(Context ctx) { return stream_.connect(ctx); }

    Task<> read(Context, Sink& sink)
    {
        // No longer: what comes without pause and without a message (a framing may skip it) must
        // not hold the thread.
        for (std::size_t come = 0; come < detail::TcpStream::batch_bytes;) {
            if (!in_place_.empty()) {
                while (come_bytes_ < in_place_.size())
                    come_bytes_ +=
                        co_await stream_.fill_into(in_place_.subspan(come_bytes_), come_bytes_);
                pass_on_in_place(sink);
                co_return;
            }
            if (pass_on(sink))
                co_return;
            if (in_place_.empty())
                come += co_await stream_.fill(sink, missing_bytes_,
                                              max_message_bytes_ + overhead_bytes);
        }
    }

    Task<> write(Context, Batch batch)
    {
        for (auto at = batch.begin(); at != batch.end();) {
            out_.clear();
            ends_.clear();
            for (; at != batch.end() && out_.size() < chunk_bytes; ++at) {
                framing_.encode(out_, (*at).bytes());
                ends_.push_back(out_.size());
            }
            // Marked as the system takes them, so that what a failure or a stop leaves unsent is
            // counted exactly.
            auto unmarked = ends_.begin();
            for (std::size_t written = 0; written < out_.size();) {
                written += co_await stream_.write_some(std::span{out_}.subspan(written));
                const auto reached = std::upper_bound(unmarked, ends_.end(), written);
                batch.mark_written(static_cast<std::size_t>(reached - unmarked));
                unmarked = reached;
            }
        }
        if (out_.capacity() > kept_bytes)
            out_ = {};
    }

    Task<> close(Context, CloseReason) { return stream_.close(); }
    void abort() noexcept { stream_.abort(); }

private:
    /// A larger batch is encoded and written in pieces.
    static constexpr std::size_t chunk_bytes = 256u << 10;
    /// More memory than this, which a large message took, is given back after the batch.
    static constexpr std::size_t kept_bytes = 4 * chunk_bytes;
    /// What a framing may put around a message, at most.
    static constexpr std::size_t overhead_bytes = 4096;

    [[nodiscard]] static constexpr MessageKind kind() noexcept
    {
        if constexpr (requires { F::kind; })
            return F::kind;
        else
            return MessageKind::bytes;
    }

    /// Puts every complete message; true if read() is to return: something was put, or there was no
    /// room for it.
    bool pass_on(Sink& sink)
    try {
        const auto unread = stream_.unread();
        std::size_t at = 0;
        bool is_done = false;
        for (;;) {
            const auto rest = unread.subspan(at);
            const auto decoded = framing_.decode(rest, max_message_bytes_);
            if (decoded.consumed_bytes > rest.size()
                || (decoded.is_complete && decoded.consumed_bytes == 0))
                throw Exception{detail::bad_framing(
                    "its decode() consumed more than there is, or nothing for a message")};
            if (decoded.is_complete) {
                is_done = true;
                if (!sink.put(kind(), decoded.payload))
                    break;
            }
            at += decoded.consumed_bytes;
            missing_bytes_ = decoded.missing_bytes;
            if (!decoded.is_complete && decoded.consumed_bytes == 0) {
                if (begin_in_place(sink, decoded))
                    at = unread.size();
                break;
            }
        }
        stream_.consume(at);
        return is_done;
    } catch (...) {
        stream_.fail_read(std::current_exception());
    }

    /// Hands over the large message that is whole, and those behind it as far as they have come.
    void pass_on_in_place(Sink& sink)
    {
        for (std::size_t taken = 0;;) {
            taken += in_place_.size();
            in_place_ = {};
            sink.commit(kind());
            (void)pass_on(sink);
            if (in_place_.empty() || taken >= detail::TcpStream::batch_bytes)
                return;
            while (come_bytes_ < in_place_.size()) {
                const auto got = stream_.try_fill_into(in_place_.subspan(come_bytes_), come_bytes_);
                if (got == 0)
                    return;
                come_bytes_ += got;
            }
        }
    }

    bool begin_in_place(Sink& sink, const Decoded& decoded)
    {
        if (decoded.payload.data() == nullptr || decoded.missing_bytes == 0)
            return false;
        in_place_ = sink.prepare(decoded.payload.size() + decoded.missing_bytes);
        if (in_place_.empty())
            return false;
        std::copy(decoded.payload.begin(), decoded.payload.end(), in_place_.begin());
        come_bytes_ = decoded.payload.size();
        return true;
    }

    F framing_;                           // sidecar side
    const std::size_t max_message_bytes_; // sidecar side
    std::size_t missing_bytes_ = 0;       // sidecar side
    // sidecar side; where a large message is received; empty: nowhere
    std::span<std::byte> in_place_;
    std::size_t come_bytes_ = 0;    // sidecar side; of it
    std::vector<std::byte> out_;    // sidecar side; what write() is at
    std::vector<std::size_t> ends_; // sidecar side; where in it each message ends
    detail::TcpStream stream_;      // sidecar side
};

static_assert(Transport<Tcp<LengthPrefix>> && Transport<Tcp<Lines>> && Transport<Tcp<Raw>>
              && Transport<Tcp<FixedSize<8>>>);

} // namespace sidecar
