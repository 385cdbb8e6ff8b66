// The life of a link, as a pure state machine: what happened goes in, what follows comes out.
#pragma once

#include <sidecar/error.hpp>

#include <cstdint>
#include <optional>

namespace sidecar::detail {

/// connecting -> up -> down, or connecting -> down; and beside it whether the link is quiesced, has
/// lost its sending half, or is being closed. It does no I/O, knows no time and no thread: the link
/// that owns it tells it what happened and does what it says. The first cause of an end is the one
/// that is told, except that the peer's own goodbye explains more than a send that failed.
class Life {
public:
    enum class State : std::uint8_t { connecting, up, down };

    [[nodiscard]] State state() const noexcept { return state_; }
    [[nodiscard]] bool is_quiesced() const noexcept { return is_quiesced_; }
    [[nodiscard]] bool is_closing() const noexcept { return close_ != Close::none; }
    /// The close has ended, or there is nothing to close.
    [[nodiscard]] bool is_closed() const noexcept
    {
        return close_ == Close::ended || state_ != State::up;
    }
    [[nodiscard]] bool has_closed_well() const noexcept
    {
        return is_closing() && is_closed() && !close_failure_;
    }
    [[nodiscard]] const std::optional<Failure>& close_failure() const noexcept
    {
        return close_failure_;
    }
    /// Why it ended, or will end; empty while nothing has gone wrong.
    [[nodiscard]] const std::optional<Failure>& cause() const noexcept { return cause_; }

    /// The transport is connected. False: the link was given up or stopped in the same moment, and
    /// does not come up.
    [[nodiscard]] bool connected();
    /// The time for connecting is over. False: too late, it is connected or has failed already.
    [[nodiscard]] bool give_up_connecting(Failure why);
    /// Nothing new is to be taken in or sent. True: it was connecting, and never will be.
    [[nodiscard]] bool quiesce();
    /// The writer ended. True: no more can be sent, but the peer's last words are still to be read.
    [[nodiscard]] bool writing_ended(std::optional<Failure> why);
    void close_began() { close_ = Close::under_way; }
    /// `why`: the goodbye was not answered as the protocol wants it.
    void close_ended(std::optional<Failure> why);

    /// What the end of the reading means.
    struct End {
        Failure failure;           ///< what the application is told
        bool is_recorded = false;  ///< it belongs among the run's failures
        bool is_announced = false; ///< as an event: the link was up, and no stop has ended it
    };
    /// The reader ended; with that the link is down. Empty: without a failure of its own.
    [[nodiscard]] End reading_ended(std::optional<Failure> why);

private:
    enum class Close : std::uint8_t { none, under_way, ended };

    // sidecar side, all
    State state_ = State::connecting;
    Close close_ = Close::none;
    bool is_quiesced_ = false;
    std::optional<Failure> cause_;
    std::optional<Failure> close_failure_;
};

} // namespace sidecar::detail
