// The life of a link, as a pure state machine: what happened goes in, what follows comes out.
#pragma once

#include <sidecar/error.hpp>

#include <atomic>
#include <cstdint>
#include <optional>

namespace sidecar::detail {

/// The one place that knows what state a link is in; any thread may ask it, the others of its
/// questions are the loop's. connecting -> preparing -> up -> failing -> down -> ended, where each of
/// the first four may also go straight to down, or to backing_off and then to connecting for a link
/// that comes back. It also knows whether the link is quiesced (by a stop, or because the application
/// closes it) or is being closed, and whether the application knows of the connection. It does no
/// I/O, knows no time and no thread: the link that owns it reports what happened, and does what it
/// answers. The first cause of a connection's end is reported, but the peer's own goodbye explains
/// more than a send that failed.
class Life {
public:
    enum class State : std::uint8_t {
        connecting,
        preparing,   ///< connected; on_connected runs, if there is one
        up,          ///< messages go both ways
        failing,     ///< it was up, and is no good now; the listener still reads
        backing_off, ///< until the next attempt
        down,        ///< there will be no other attempt; its tasks end
        ended,       ///< nothing of it runs
    };
    /// When a link that failed may try again.
    enum class Returns : std::uint8_t { never, once_it_was_up, always };

    explicit Life(Returns returns = Returns::never) noexcept : returns_{returns} {}

    /// Side: any thread.
    [[nodiscard]] State state() const noexcept { return state_.load(); }
    /// The number of the latest connection that the application knows of; 0: none. Side: any thread.
    [[nodiscard]] std::uint32_t connection() const noexcept { return connection_.load(); }
    [[nodiscard]] bool is_quiesced() const noexcept { return is_quiesced_; }
    [[nodiscard]] bool is_closed_by_application() const noexcept
    {
        return is_closed_by_application_;
    }
    [[nodiscard]] bool is_closing() const noexcept { return close_ != Close::none; }
    /// There is a connection, so there is something to close.
    [[nodiscard]] bool is_open() const noexcept
    {
        return state() >= State::preparing && state() <= State::failing;
    }
    /// The close has ended, or there is nothing to close.
    [[nodiscard]] bool is_closed() const noexcept { return close_ == Close::ended || !is_open(); }
    [[nodiscard]] bool has_closed_well() const noexcept
    {
        return is_closing() && is_closed() && !close_failure_;
    }
    [[nodiscard]] const std::optional<Failure>& close_failure() const noexcept
    {
        return close_failure_;
    }
    /// Why the connection ended, or will end; empty while nothing has gone wrong.
    [[nodiscard]] const std::optional<Failure>& cause() const noexcept { return cause_; }
    /// Whether a failure now could be followed by another attempt.
    [[nodiscard]] bool may_return() const noexcept
    {
        return !is_quiesced_
               && (returns_ == Returns::always || (returns_ == Returns::once_it_was_up && was_up_));
    }

    /// The transport is connected. False: the link was given up or stopped in the same moment, and
    /// does not come up.
    [[nodiscard]] bool connected();
    /// What comes before all else on a connection is done. False: as for connected().
    [[nodiscard]] bool prepared();
    /// The application gets to know of this connection, which has its number from now on. False: it
    /// knows of it.
    [[nodiscard]] bool announce();
    /// The time for connecting or preparing is over, or that failed. False: too late, it is up or
    /// has failed already.
    [[nodiscard]] bool give_up(Failure why);
    /// Nothing new is to be taken in or sent. True: it was not up, and never will be.
    [[nodiscard]] bool quiesce();
    /// The same, because the application closes this link.
    [[nodiscard]] bool close_requested()
    {
        is_closed_by_application_ = true;
        return quiesce();
    }
    /// The connection is no good although nothing of it has ended yet. False: it is not up, or has
    /// failed already, or is being closed.
    [[nodiscard]] bool condemn(Failure why);
    /// The writer ended. True: no more can be sent, but the peer's last words are still to be read.
    [[nodiscard]] bool writing_ended(std::optional<Failure> why);
    void close_began();
    /// `why`: the goodbye was not answered as the protocol wants it, or not in time. Again: no effect.
    void close_ended(std::optional<Failure> why);

    /// What the end of the reading means.
    struct End {
        Failure failure;            ///< for the application
        bool is_recorded = false;   ///< it belongs among the run's failures
        bool was_announced = false; ///< the application knows of the connection
        bool is_announced = false;  ///< as `down`, if no stop has ended it
        bool may_return = false;    ///< another attempt may follow
    };
    /// The reader ended; with that the link backs off, if it may return, or is down. Empty: without a
    /// failure of its own.
    [[nodiscard]] End reading_ended(std::optional<Failure> why);
    /// There will be no other attempt.
    void go_down() noexcept { state_ = State::down; }
    /// Nothing of it runs now.
    void end() noexcept { state_ = State::ended; }
    /// The time for the next attempt is there. False: the link was stopped in the same moment.
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
    bool is_announced_ = false;     // the present connection
    bool is_cause_of_send_ = false; // cause_ is a failed write
    std::optional<Failure> cause_;
    std::optional<Failure> close_failure_;
};

} // namespace sidecar::detail
