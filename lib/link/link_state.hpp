// A link's state machine: takes events and returns their consequences. Pure.
#pragma once

#include <sidecar/error.hpp>

#include <atomic>
#include <cstdint>
#include <optional>

namespace sidecar::detail {

/// Whether a broken connection may be the cause of this failure.
[[nodiscard]] bool is_of_network(Error error) noexcept;

/// Holds a link's state. Transitions: connecting -> preparing -> up -> failing -> down -> ended.
/// Each of the first four may also go straight to down, or, if the link reconnects, to backing_off
/// and then to connecting. It also knows whether the link is quiesced (by a stop, or by the
/// application's close) or is being closed, and whether the application knows of the connection. It
/// does no I/O and knows no time and no thread: the link that owns it reports events and acts on
/// the answers. The first cause of a connection's end is reported; only the peer's close replaces a
/// failed send. Side: sidecar, except where a call says otherwise.
class LinkState {
public:
    enum class State : std::uint8_t {
        connecting,
        preparing,   ///< connected; on_connected runs if there is one
        up,          ///< messages go both ways
        failing,     ///< was up and failed; the listener still reads
        backing_off, ///< waits for the next attempt
        down,        ///< no further attempt follows; its tasks end
        ended,       ///< none of its tasks runs
    };
    /// When a failed link may try again.
    enum class Returns : std::uint8_t { never, once_it_was_up, always };

    explicit LinkState(Returns returns = Returns::never) noexcept : returns_{returns} {}

    /// Side: any thread.
    [[nodiscard]] State state() const noexcept { return state_.load(); }
    /// The number of the latest connection that was announced; 0: none. Side: any thread.
    [[nodiscard]] std::uint32_t connection() const noexcept { return connection_.load(); }
    /// Returns whether the application knows of the present connection.
    [[nodiscard]] bool is_announced() const noexcept { return is_announced_; }
    [[nodiscard]] bool is_quiesced() const noexcept { return is_quiesced_; }
    [[nodiscard]] bool is_closed_by_application() const noexcept
    {
        return is_closed_by_application_;
    }
    [[nodiscard]] bool is_closing() const noexcept { return close_ != Close::none; }
    /// Returns whether there is a connection to close.
    [[nodiscard]] bool is_open() const noexcept
    {
        return state() >= State::preparing && state() <= State::failing;
    }
    /// Returns whether the close has ended or there is nothing to close.
    [[nodiscard]] bool is_closed() const noexcept { return close_ == Close::ended || !is_open(); }
    [[nodiscard]] bool has_closed_well() const noexcept
    {
        return is_closing() && is_closed() && !close_failure_;
    }
    [[nodiscard]] const std::optional<Failure>& close_failure() const noexcept
    {
        return close_failure_;
    }
    /// Why the connection ended or will end; empty: nothing went wrong so far.
    [[nodiscard]] const std::optional<Failure>& cause() const noexcept { return cause_; }
    /// Returns whether another attempt could follow a failure now.
    [[nodiscard]] bool may_return() const noexcept
    {
        return !is_quiesced_
               && (returns_ == Returns::always || (returns_ == Returns::once_it_was_up && was_up_));
    }

    /// The transport has connected. Returns false if the link was given up or stopped meanwhile;
    /// then it does not come up.
    [[nodiscard]] bool connected();
    /// on_connected is done: the link is up. Returns false as connected() does.
    [[nodiscard]] bool prepared();
    /// Counts the connection: the application is about to see it. Returns false if it was announced
    /// already.
    [[nodiscard]] bool announce();
    /// Connecting or preparing failed or timed out. Returns false if the link is up, has failed
    /// already, or is being stopped.
    [[nodiscard]] bool give_up(Failure why);
    /// Nothing new is taken in or sent from now on. Returns true if the link is not up and will not
    /// come up.
    [[nodiscard]] bool quiesce();
    /// Does the same for the application's close.
    [[nodiscard]] bool close_requested()
    {
        is_closed_by_application_ = true;
        return quiesce();
    }
    /// Marks the connection as failed while its tasks still run. Returns false if it is not open,
    /// has failed already, or is being closed.
    [[nodiscard]] bool condemn(Failure why);
    /// The writer ended. Returns true if no more can be sent, but the peer's close may still be
    /// read.
    [[nodiscard]] bool writing_ended(std::optional<Failure> why);
    void close_began();
    /// `why`: the peer did not answer as the protocol requires, or not in time. A second call has
    /// no effect.
    void close_ended(std::optional<Failure> why);

    /// The consequences of the listener's end.
    struct End {
        Failure failure;            ///< for the application
        bool is_recorded = false;   ///< it goes into the run's error log
        bool was_announced = false; ///< the application knows of the connection
        bool is_announced = false;  ///< the end is a `down`, not a `retry`
        bool may_return = false;    ///< another attempt may follow
    };
    /// The reader ended: the link backs off if it may return, otherwise it is down. Empty `why`:
    /// the reader did not fail.
    [[nodiscard]] End reading_ended(std::optional<Failure> why);
    /// Rules out further attempts.
    void go_down() noexcept { state_ = State::down; }
    /// The last of its tasks has ended.
    void end() noexcept { state_ = State::ended; }
    /// The next attempt is due. Returns false if the link was stopped meanwhile.
    [[nodiscard]] bool retry();

private:
    enum class Close : std::uint8_t { none, under_way, ended };

    std::atomic<State> state_{State::connecting}; // both: atomic; written by the sidecar side
    std::atomic<std::uint32_t> connection_{0};    // both: atomic; written by the sidecar side
    // sidecar side, all below
    const Returns returns_;
    Close close_ = Close::none;
    bool is_quiesced_ = false;
    bool is_closed_by_application_ = false;
    bool was_up_ = false;           // on some connection
    bool is_announced_ = false;     // the current connection
    bool is_cause_of_send_ = false; // cause_ is a failed write
    std::optional<Failure> cause_;
    std::optional<Failure> close_failure_;
};

} // namespace sidecar::detail
