// When the stages of a stop end at the latest. Pure.
#pragma once

#include <sidecar/options.hpp>

namespace sidecar::detail {

/// The deadlines of a stop, on the clock of its beginning.
struct StopStages {
    TimePoint drain, close, cancel;

    /// What follows a stage keeps a share of a total that is too small for all: a peer that uses up
    /// the close's time must not leave none for the cancelling (a quarter of the total at most), nor
    /// this none for the thread's end (an eighth, 50 ms at most).
    [[nodiscard]] static StopStages from(TimePoint began, const StopBudget& budget) noexcept;
};

} // namespace sidecar::detail
