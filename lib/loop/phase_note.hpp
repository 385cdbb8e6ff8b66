// The phase that a link is in, how its connecting went, and what it agreed on with its peer.
#pragma once

#include "base/wait_point.hpp"

#include <sidecar/connect_trace.hpp>
#include <sidecar/context.hpp>

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

namespace sidecar::detail {

/// Written by the link's tasks, read by dump(), reports and the application. Owned by its link.
/// Invariant: the steps of a connecting follow each other without a gap, so their times add up to the
/// total; there are at most `max_entries` of them, and as many attempts. Side: any thread.
class PhaseNote {
public:
    /// Lifetime: `clock` outlives it.
    explicit PhaseNote(const AppClock& clock) noexcept : clock_{clock} {}

    /// A new connecting begins: forgets the one before.
    void begin_connecting();
    /// It has succeeded or failed. Again: no effect.
    void end_connecting();
    /// Up to Phase::restoring it is also a step of the connecting, while one is under way.
    void set_phase(Phase phase, std::string_view detail);
    void set_protocol(std::string_view protocol);
    void note_tried(std::string_view address, std::string_view outcome, Duration took);

    [[nodiscard]] std::string protocol() const;
    /// "connecting to 10.0.0.1:80"
    [[nodiscard]] std::string text() const;
    /// The same, and how long each phase of the connecting has taken.
    [[nodiscard]] std::string text_so_far() const;
    /// Of the latest connecting, as far as it has gone.
    [[nodiscard]] ConnectTrace trace() const;

    static constexpr std::size_t max_entries = 32;

private:
    void close_step(ConnectTrace& trace, TimePoint now) const;

    const AppClock& clock_; // both
    mutable std::mutex mutex_;
    Phase phase_ = Phase::connecting; // both: guarded by mutex_
    std::string detail_;              // both: guarded by mutex_
    std::string protocol_;            // both: guarded by mutex_
    ConnectTrace trace_;              // both: guarded by mutex_
    TimePoint began_{};               // both: guarded by mutex_
    TimePoint step_began_{};          // both: guarded by mutex_; and ends when the next begins
    bool is_connecting_ = false;      // both: guarded by mutex_
};

} // namespace sidecar::detail
