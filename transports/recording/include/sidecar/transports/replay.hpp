// Replay: a transport that plays a recording.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/transport.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace sidecar {

namespace detail {

/// The place of a Replay in its file. Copies are the same place.
class SIDECAR_API ReplayPlace {
public:
    ReplayPlace();
    struct SIDECAR_LOCAL State;
    [[nodiscard]] const std::shared_ptr<State>& state() const noexcept { return state_; }

private:
    std::shared_ptr<State> state_; // both: one connection at a time has it
};

} // namespace detail

/// Plays a recording, in place of the transport that was recorded. Each recorded connection is one
/// connection, and each recorded attempt that failed is one that fails: with the recorded failure or
/// close code, after the recorded time. The time between an end and the next attempt is kept too,
/// so the link's connect_timeout must be longer than that.
///
/// Where the recorded program closed or dropped the connection, Replay ends it: with closed_by_peer
/// and code 1000, or with disconnected. Behind the last entry it ends with closed_by_peer and code
/// 1000, and no link tries again. A damaged file ends the link with protocol_violation, after
/// everything before the damage.
///
/// Copies of the options, and so all connections and all starts of a link, continue in the file;
/// new options begin at its beginning.
///
/// Its calls are those of Transport; pings are answered at once. Side: the loop's thread, except
/// check().
class SIDECAR_API Replay {
public:
    struct Options {
        std::string file{};
        double speed = 1; ///< times as fast; 0: without waiting
        /// False: accepts and discards what the application sends. True: it must be what the recorded
        /// program sent on this connection, in order; a difference ends the connection with
        /// protocol_violation. Then a recorded message comes only after the messages that were sent
        /// before it, and a message that is not sent within 10 s of its time is a difference too.
        bool check_sent = false;
        std::size_t max_message_bytes = 1u << 20; ///< bytes; larger ones end the link
        /// VirtualReplay only: the clock that the feed shares with others. Empty: each run has a
        /// separate one, on which a day can pass.
        std::optional<MockClock> clock{};
        detail::ReplayPlace place{}; ///< leave it out
    };

    explicit Replay(const Options& options);
    Replay(const Replay&) = delete;
    Replay& operator=(const Replay&) = delete;
    ~Replay();

    [[nodiscard]] static std::string endpoint(const Options& options) { return options.file; }
    /// Errors: bad_options (the file cannot be read, is no recording, or a newer version wrote it;
    /// the speed is below 0; there is a clock).
    [[nodiscard]] static Result<void> check(const Options& options);
    /// Off: the recorded ends are those of the peer.
    [[nodiscard]] static Liveness default_liveness()
    {
        return {.ping_interval = {}, .ping_timeout = {}};
    }

    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Context ctx, Batch batch);
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(Context ctx, CloseReason reason);
    void abort() noexcept;
    [[nodiscard]] ConnectionInfo connection_info();

protected:
    [[nodiscard]] static Result<void> check_file_and_speed(const Options& options);

private:
    struct SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

/// Replay on virtual time: hours take milliseconds.
class SIDECAR_API VirtualReplay : public Replay {
public:
    using Clock = VirtualClock;
    using Replay::Replay;

    [[nodiscard]] static std::optional<MockClock> mock_clock(const Options& options)
    {
        return options.clock;
    }
    /// As Replay's, but there may be a clock.
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        return check_file_and_speed(options);
    }
};

static_assert(Transport<Replay> && Transport<VirtualReplay>);

} // namespace sidecar
