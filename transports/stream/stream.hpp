// A stream of bytes in both directions, below the protocols. Private to the transports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/transport.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sidecar::stream {

/// An event for any number of coroutines; each checks its condition after a wake-up. Side: the
/// loop's thread.
class Waiters {
public:
    Waiters() = default;
    Waiters(const Waiters&) = delete;
    Waiters& operator=(const Waiters&) = delete;

    /// Waits for the next wake(); false: the deadline passed first. Throws system_error if the
    /// awaiting coroutine is cancelled.
    [[nodiscard]] Task<bool> wait(Context ctx, TimePoint deadline)
    {
        const Place place{*this};
        co_return co_await ctx.wait(place.event, deadline);
    }
    [[nodiscard]] Task<> wait()
    {
        const Place place{*this};
        co_await place.event.wait();
    }
    void wake()
    {
        for (auto* event : events_)
            event->set();
    }

private:
    struct Place {
        explicit Place(Waiters& of) : waiters{of} { waiters.events_.push_back(&event); }
        ~Place() { std::erase(waiters.events_, &event); }
        Waiters& waiters;
        mutable LoopEvent event{};
    };

    std::vector<LoopEvent*> events_; // sidecar side
};

/// Buffers of one read: the first is filled before the second, which may be empty.
using ReadBuffers = std::array<boost::asio::mutable_buffer, 2>;

/// An open stream: a plain socket, or TLS or a proxy's tunnel over another Stream. The transport
/// owns it and shares it with its Writer. Invariant: after abort() every operation counts as ended
/// with operation_aborted, even one that had already succeeded; a caller that awaited one checks
/// is_aborted() first.
///
/// Side: the loop's thread. At most one read_some and one write_some at a time; try_read only while
/// no read_some is pending. Errors: returned in `ec`; the end of the stream is asio::error::eof, a
/// truncated TLS stream is TlsEnd::truncated. Lifetime: `ec` and the buffers live until the
/// operation ends. Cancellation: of the awaiting coroutine, ends the operation with
/// operation_aborted; a cancelled read has consumed nothing.
class Stream {
public:
    Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    virtual ~Stream() = default;

    /// Waits for bytes; returns their number, at least one unless there is an error.
    [[nodiscard]] virtual Task<std::size_t> read_some(ReadBuffers into, error_code& ec) = 0;
    /// Reads without waiting: zero without an error means that no bytes are there.
    [[nodiscard]] virtual std::size_t try_read(ReadBuffers into, error_code& ec) = 0;
    /// Whether the last read took everything, so that try_read() would find nothing. After a
    /// read_some() it is right only once on_read() was called.
    [[nodiscard]] virtual bool is_drained() const noexcept = 0;
    virtual void on_read(std::size_t asked_bytes, std::size_t got) noexcept
    {
        static_cast<void>(asked_bytes), static_cast<void>(got);
    }

    /// Waits until the stream has taken at least one byte; returns the number taken. At most 64
    /// buffers.
    [[nodiscard]] virtual Task<std::size_t> write_some(
        std::span<const boost::asio::const_buffer> from, error_code& ec) = 0;

    /// Writes without waiting; returns the number of bytes taken. Zero without an error: it would
    /// wait, or it cannot tell; call write_some(). Only while no write_some is pending.
    [[nodiscard]] virtual std::size_t try_write(std::span<const boost::asio::const_buffer> from,
                                                error_code& ec)
    {
        static_cast<void>(from), static_cast<void>(ec);
        return 0;
    }

    /// Ends the sending half; reading continues. TLS may have to write for it, so call it with no
    /// write_some pending.
    [[nodiscard]] virtual Task<> shutdown(error_code& ec) = 0;
    /// Ends the stream in both directions at once and never waits. A second call has no effect.
    virtual void abort() noexcept = 0;
    [[nodiscard]] virtual bool is_aborted() const noexcept = 0;

    [[nodiscard]] virtual boost::asio::any_io_executor executor() = 0;
    /// Names the peer for failure texts: "192.0.2.1:80"; empty if unknown.
    [[nodiscard]] virtual std::string peer() const = 0;
    /// The protocol agreed on by ALPN (RFC 7301); empty: none, or no TLS.
    [[nodiscard]] virtual std::string application_protocol() const { return {}; }
    /// The facts of TLS; empty: none.
    [[nodiscard]] virtual std::optional<TlsInfo> tls_info() const { return {}; }
};

} // namespace sidecar::stream
