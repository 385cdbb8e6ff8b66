// When a peer is asked for a sign of life, and when it counts as gone, as a pure state machine.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/liveness.hpp>

#include <cstdint>

namespace sidecar::detail {

/// Two clocks of one connection: for the silence of bytes and for the silence of data. Owned by the
/// link's KeepAlive, which calls look() when the time for it has come and does what it says. It does
/// no I/O and asks no clock. Invariant: at most one question is on its way.
class LivenessMonitor {
public:
    /// What was seen of the peer until now, and of ourselves.
    struct Signs {
        TimePoint heard_at{};      ///< the last bytes that came; min() or before up(): none
        TimePoint data_at{};       ///< the last message
        TimePoint resumed_at{};    ///< reading last went on after a pause
        bool is_paused = false;    ///< nobody reads now, so silence means nothing
        std::uint64_t written = 0; ///< grows with all that the system takes from us
    };
    enum class What : std::uint8_t {
        wait,       ///< nothing is due before `next_look`
        ask,        ///< put the question, then tell asked_written()
        tell_stale, ///< no data for so long
        tell_fresh, ///< and now there is some again
        drop_stale, ///< the same, and the link is to end because of it
        drop_dead,  ///< no answer
    };
    struct Verdict {
        What what = What::wait;
        TimePoint next_look = TimePoint::max(); ///< with `wait` only
        Duration silence{}; ///< how long nothing came; with `tell_fresh`: until the data that came
        bool was_asked = true; ///< with `drop_dead`: false: the question could not be written
    };

    /// `can_ask`: there is a ping or a heartbeat.
    LivenessMonitor(const Liveness& options, bool can_ask) noexcept;

    /// The connection is up; the clocks begin.
    void up(TimePoint now) noexcept;
    /// The question that was last told to be put has been taken by the system.
    void asked_written(TimePoint now) noexcept;
    /// The next thing to do. After anything but `wait` it has been done, so look again.
    [[nodiscard]] Verdict look(const Signs& signs, TimePoint now) noexcept;

    [[nodiscard]] bool is_off() const noexcept { return !asks_ && !watches_data(); }
    /// The next message is to be followed by a look() at once, for tell_fresh, and so that the clock
    /// begins anew.
    [[nodiscard]] bool is_stale() const noexcept { return is_stale_; }

private:
    enum class Question : std::uint8_t { none, unwritten, written };

    [[nodiscard]] bool watches_data() const noexcept { return data_timeout_ > Duration{}; }
    [[nodiscard]] Verdict look_for_life(const Signs& signs, TimePoint now) noexcept;
    [[nodiscard]] Verdict look_for_data(const Signs& signs, TimePoint now) noexcept;
    [[nodiscard]] TimePoint begin_of(TimePoint last, const Signs& signs) const noexcept;

    const Duration interval_;            // sidecar side
    const Duration timeout_;             // sidecar side
    const Duration data_timeout_;        // sidecar side
    const bool asks_;                    // sidecar side
    const bool drops_stale_;             // sidecar side
    TimePoint up_at_{};                  // sidecar side
    TimePoint asked_at_{};               // sidecar side
    TimePoint deadline_from_{};          // sidecar side; of the answer, or of the writing
    std::uint64_t written_ = 0;          // sidecar side; when deadline_from_ was set
    Question question_ = Question::none; // sidecar side
    bool is_stale_ = false;              // sidecar side
    TimePoint stale_data_at_{};          // sidecar side; the last message then
};

/// Errors: bad_options. Pure.
[[nodiscard]] Result<void> check_liveness(const Liveness& options);

} // namespace sidecar::detail
