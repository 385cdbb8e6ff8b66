// A stream of bytes in both directions: what lies under the protocols. Private to the transports.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/transport.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace sidecar::stream {

/// An event for any number of coroutines, each of which then looks at what it waits for. Side: the
/// loop's thread.
class Waiters {
public:
    Waiters() = default;
    Waiters(const Waiters&) = delete;
    Waiters& operator=(const Waiters&) = delete;

    /// Until the next wake(); false: the deadline came first. Throws system_error where the awaiting
    /// coroutine is cancelled.
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

/// Where one read puts its bytes: the first is filled before the second, which may be empty.
using ReadBuffers = std::array<boost::asio::mutable_buffer, 2>;

/// An open stream: a plain socket, or TLS or a proxy's tunnel over another Stream. The
/// transport owns it and shares it with its Writer. Invariant: after abort() every operation, also
/// one whose success was on its way already, counts as ended with operation_aborted; who awaits
/// one asks is_aborted() first.
///
/// Side: the loop's thread. At most one read_some and one write_some at a time; try_read only while
/// no read_some is pending. Errors arrive in `ec`, which must live until the operation is done, as
/// must buffers; the end of the stream is asio::error::eof, and of one over TLS that was cut
/// TlsEnd::truncated. Cancellation of the awaiting coroutine
/// ends the operation with operation_aborted; a read that was cancelled has taken nothing.
class Stream {
public:
    Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    virtual ~Stream() = default;

    /// Waits for bytes; gives how many, at least one without an error.
    [[nodiscard]] virtual Task<std::size_t> read_some(ReadBuffers into, error_code& ec) = 0;
    /// The same with what is there already: zero without an error if that is nothing.
    [[nodiscard]] virtual std::size_t try_read(ReadBuffers into, error_code& ec) = 0;
    /// The last read took all that there was, so try_read() would be in vain. A read_some() counts
    /// once note_read() has said what it brought.
    [[nodiscard]] virtual bool is_drained() const noexcept = 0;
    virtual void note_read(std::size_t asked_bytes, std::size_t got) noexcept
    {
        static_cast<void>(asked_bytes), static_cast<void>(got);
    }

    /// Waits until at least one byte was taken; gives how many. At most 64 buffers.
    [[nodiscard]] virtual Task<std::size_t> write_some(
        std::span<const boost::asio::const_buffer> from, error_code& ec) = 0;

    /// Tells the peer that nothing more will come; reading goes on. May have to write (TLS), so
    /// with no write_some pending.
    [[nodiscard]] virtual Task<> shutdown(error_code& ec) = 0;
    /// Ends everything at once and never waits. Again: no effect.
    virtual void abort() noexcept = 0;
    [[nodiscard]] virtual bool is_aborted() const noexcept = 0;

    [[nodiscard]] virtual boost::asio::any_io_executor executor() = 0;
    /// Who is at the other end, for a failure's text: "192.0.2.1:80"; empty where that is not known.
    [[nodiscard]] virtual std::string peer() const = 0;
    /// What was agreed on by ALPN (RFC 7301); empty: nothing, or there is no TLS.
    [[nodiscard]] virtual std::string application_protocol() const { return {}; }
};

} // namespace sidecar::stream
