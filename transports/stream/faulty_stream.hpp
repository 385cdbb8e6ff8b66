// Injects faults into a socket's stream. Private to the transports.
#pragma once

#include "socket_stream.hpp"
#include "stream.hpp"

#include <sidecar/faults.hpp>
#include <sidecar/reconnect.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::stream {

/// Draws the faults of one attempt to connect and of the connection that it makes, and remembers
/// those that explain a failure. The Connector owns it and shares it with its streams.
///
/// A draw depends on the seed, the link, the connection, the attempt, the kind of the operation and
/// its number: writes do not change the faults of reads, and one rate does not change when the
/// faults of another happen. Side: the loop's thread.
class ConnectionFaults {
public:
    enum class Kind : std::uint8_t { connect, read, write };

    /// The faults of one operation.
    struct Operation {
        Duration delay{};
        double part = 1; ///< of the data that it takes; 1: all
        bool fails = false;
        bool stalls = false; ///< afterwards
        [[nodiscard]] std::size_t part_of(std::size_t bytes) const noexcept
        {
            return part == 1 || bytes < 2
                       ? bytes
                       : 1 + static_cast<std::size_t>(part * static_cast<double>(bytes - 1));
        }
    };

    /// `faults` must have passed check_faults().
    ConnectionFaults(const Faults& faults, const Attempt& attempt);

    /// Logs at the first call that the connection has faults.
    void announce(Context ctx, const std::string& endpoint);
    /// Draws the faults of the next operation.
    [[nodiscard]] Operation next(Kind kind);
    /// The delay of the last operation of this kind is over.
    void delay_ended(Kind kind) noexcept { waits_.at(index(kind)) = {}; }
    /// Records and logs a fault that lasts: "a reset at".
    void happened(Context ctx, std::string_view fault, Kind kind);
    /// A connect succeeded, so an earlier refusal explains nothing.
    void connected() noexcept
    {
        lasting_.clear();
        delay_ended(Kind::connect);
    }
    /// Names the faults that may explain a failure now; empty: there are none.
    [[nodiscard]] std::string note() const;

private:
    [[nodiscard]] static std::size_t index(Kind kind) { return static_cast<std::size_t>(kind); }

    const Faults faults_;                   // sidecar side
    const std::string origin_;              // sidecar side; identifies the draws
    std::array<std::uint64_t, 3> states_{}; // sidecar side; of the generators, by kind
    std::array<std::uint64_t, 3> counts_{}; // sidecar side; of the operations, by kind
    std::array<Duration, 3> waits_{};       // sidecar side; of the operations under way, by kind
    std::string lasting_;                   // sidecar side; empty: no refusal, reset or stall
    bool is_announced_ = false;             // sidecar side
};

/// A socket with faults, below TLS and a proxy's tunnel, as a network's faults are. A read that
/// finds bytes or the end is an operation; one that finds nothing is not. Bytes arrive in this
/// class's memory first, so that a cancelled read has consumed nothing. After a stall nothing moves
/// until abort(): reads and writes wait, and our half does not end. After a reset all operations
/// fail with connection_reset.
class FaultyStream final : public Stream {
public:
    /// Lifetime: `ctx` is that of the transport's connect().
    FaultyStream(Context ctx, std::shared_ptr<SocketStream> below,
                 std::shared_ptr<ConnectionFaults> faults);

    Task<std::size_t> read_some(ReadBuffers into, error_code& ec) override;
    std::size_t try_read(ReadBuffers into, error_code& ec) override;
    bool is_drained() const noexcept override { return !has_arrived() && below_->is_drained(); }
    Task<std::size_t> write_some(std::span<const boost::asio::const_buffer> from,
                                 error_code& ec) override;
    Task<> shutdown(error_code& ec) override;
    void abort() noexcept override;
    bool is_aborted() const noexcept override { return is_aborted_; }
    boost::asio::any_io_executor executor() override { return below_->executor(); }
    std::string peer() const override { return below_->peer(); }

private:
    using Kind = ConnectionFaults::Kind;

    [[nodiscard]] bool has_arrived() const noexcept { return !arrived_.empty() || end_; }
    [[nodiscard]] error_code ended() const noexcept;
    [[nodiscard]] Task<> receive(error_code& ec);
    [[nodiscard]] bool is_due();
    [[nodiscard]] std::size_t take(ReadBuffers into, error_code& ec);
    [[nodiscard]] Task<> wait_until(TimePoint when, error_code& ec);
    void reset(Kind kind);
    void stall(Kind kind);

    const Context ctx_;                               // sidecar side
    const std::shared_ptr<SocketStream> below_;       // sidecar side
    const std::shared_ptr<ConnectionFaults> faults_;  // sidecar side
    std::vector<std::byte> memory_;                   // sidecar side; of arrived_
    std::span<const std::byte> arrived_;              // sidecar side; not read yet
    error_code end_;                                  // sidecar side; behind arrived_
    std::optional<ConnectionFaults::Operation> read_; // sidecar side; drawn for the next read
    TimePoint due_at_{};                              // sidecar side; of that read
    Waiters waiters_;                                 // sidecar side; woken by abort() and a reset
    bool is_stalled_ = false;                         // sidecar side
    bool is_reset_ = false;                           // sidecar side
    bool is_aborted_ = false;                         // sidecar side
};

} // namespace sidecar::stream
