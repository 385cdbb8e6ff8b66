// Recording<T>: a transport that records what another one receives and sends.
#pragma once

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/transport.hpp>
#include <sidecar/transports/detail/connection_recorder.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace sidecar {

namespace detail {

/// The clock of a transport, if it has one.
template <class T>
struct ClockOf {};
template <class T>
    requires TransportTraits<T>::has_clock
struct ClockOf<T> {
    using Clock = typename T::Clock;
};

} // namespace detail

/// T, with a recording of its connections in a file: messages of both directions, pings, the
/// beginnings and ends, with times. RecordingReader reads the file, Replay plays it; docs/recording.md
/// has the format. No header of a handshake is recorded, but every message is, secrets included:
/// so the file is readable for its owner only.
///
/// A file that is a recording is continued; a block that a killed program left half written is cut
/// off. One link at a time can record into a file.
///
/// A thread writes the file, so a slow disk never delays the link. Entries that find no space in
/// the buffer are lost and counted, and so are all entries after a failed write, until the next
/// connection tries again. Both are logged once. A kill loses at most the last second.
///
/// It has those optional members that T has. Its calls are those of Transport. Side: the loop's
/// thread, except check() and check_send().
template <Transport T>
class Recording : public detail::ClockOf<T> {
    using Traits = detail::TransportTraits<T>;

public:
    struct Options {
        typename T::Options transport{};
        std::string file{}; ///< not empty
        /// Memory for entries that wait for the disk, in bytes. 0: 16 MiB, or four times the message
        /// limit of T if that is more.
        std::size_t buffer_bytes = 0;
        RecordingCounts counts{}; ///< keep a copy to read it
    };

    explicit Recording(const Options& options, const Attempt& attempt = {})
        : recorder_{target(options)}, transport_(Traits::make(options.transport, attempt))
    {
    }

    // Templates, so that a member that T lacks has no address either
    template <class U = T>
        requires detail::TransportTraits<U>::has_endpoint
    [[nodiscard]] static std::string endpoint(const Options& options)
    {
        return U::endpoint(options.transport);
    }
    template <class U = T>
        requires detail::TransportTraits<U>::has_mock_clock
    [[nodiscard]] static std::optional<MockClock> mock_clock(const Options& options)
    {
        return U::mock_clock(options.transport);
    }
    [[nodiscard]] static std::size_t max_message_bytes(const Options& options)
    {
        return Traits::max_message_bytes(options.transport);
    }
    /// Checks the options of T, and opens the file. Errors: those of T, bad_options (the file cannot
    /// be opened, is no recording or is damaged, another link records into it).
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        if constexpr (Traits::has_check)
            if (auto checked = T::check(options.transport); !checked)
                return checked;
        return detail::check_recording(target(options));
    }
    template <class U = T>
        requires detail::TransportTraits<U>::has_check_send
    [[nodiscard]] static Result<void> check_send(const Options& options, MessageKind kind,
                                                 std::span<const std::byte> payload)
    {
        return U::check_send(options.transport, kind, payload);
    }
    template <class U = T>
        requires detail::TransportTraits<U>::checks_whole_message
    [[nodiscard]] static Result<void> check_send(const Options& options, const MessageView& message)
    {
        return U::check_send(options.transport, message);
    }
    /// The recording has the payloads only: no topics, no headers.
    [[nodiscard]] static bool carries_topics(const Options& options)
    {
        return Traits::carries_topics(options.transport);
    }
    template <class U = T>
        requires detail::TransportTraits<U>::has_default_liveness
    [[nodiscard]] static Liveness default_liveness()
    {
        return U::default_liveness();
    }

    Task<> connect(Context ctx)
    {
        const auto watched = recorder_.begin(ctx);
        try {
            co_await transport_.connect(watched);
        } catch (...) {
            recorder_.connect_failed();
            throw;
        }
        if constexpr (Traits::has_connection_info)
            info_ = transport_.connection_info();
        recorder_.connected(info_);
    }
    Task<> read(Context ctx, Sink& sink)
    {
        try {
            co_await transport_.read(ctx, recorder_.watch(sink));
        } catch (...) {
            recorder_.read_failed();
            throw;
        }
    }
    Task<> write(Context ctx, Batch batch)
    {
        try {
            co_await transport_.write(ctx, recorder_.watch(batch));
            recorder_.written();
        } catch (...) {
            recorder_.write_failed();
            throw;
        }
    }
    template <class U = T>
        requires detail::TransportTraits<U>::has_ping
    Task<> ping(Context ctx, std::span<const std::byte> payload)
    {
        try {
            co_await transport_.ping(ctx, payload);
            recorder_.pinged(payload);
        } catch (...) {
            recorder_.write_failed();
            throw;
        }
    }
    Task<> close(Context ctx, CloseReason reason)
    {
        recorder_.closing(reason);
        return transport_.close(ctx, std::move(reason));
    }
    void abort() noexcept
    {
        recorder_.aborted();
        transport_.abort();
    }
    [[nodiscard]] ConnectionInfo connection_info() { return info_; }
    template <class U = T>
        requires detail::TransportTraits<U>::has_failure_note
    [[nodiscard]] std::string failure_note() const
    {
        return transport_.failure_note();
    }

private:
    [[nodiscard]] static detail::RecordingTarget target(const Options& options)
    {
        constexpr auto least = std::size_t{16} << 20;
        const auto bytes = options.buffer_bytes;
        const auto four_messages = 4 * std::min(max_message_bytes(options), SIZE_MAX / 4);
        detail::RecordingTarget target{.file = options.file,
                                       .buffer_bytes =
                                           bytes != 0 ? bytes : std::max(least, four_messages),
                                       .is_virtual = Traits::has_clock,
                                       .counts = options.counts};
        if constexpr (Traits::has_endpoint)
            target.endpoint = T::endpoint(options.transport);
        return target;
    }

    detail::ConnectionRecorder recorder_; // sidecar side; outlives the transport, which uses it
    T transport_;                         // sidecar side
    ConnectionInfo info_;                 // sidecar side
};

} // namespace sidecar
