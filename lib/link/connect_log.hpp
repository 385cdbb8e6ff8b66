// How a link's connecting goes, step by step, for the stats and for the failure.
#pragma once

#include <sidecar/connect_trace.hpp>

#include <cstddef>
#include <mutex>
#include <string_view>

namespace sidecar::detail {

/// Measures the phases that the transport tells while it connects. Owned by the link's PhaseNote.
/// Written by the sidecar side, read by any thread. Invariant: the steps follow each other without a
/// gap, so their times add up to the total; and there are at most 32 of them, and as many attempts.
class ConnectLog {
public:
    /// A new connecting begins; the one before is forgotten.
    void begin(TimePoint now);
    /// While none is under way: no effect.
    void enter(Phase phase, std::string_view detail, TimePoint now);
    void tried(std::string_view address, std::string_view outcome, Duration took);
    /// It has succeeded or failed. Again: no effect.
    void end(TimePoint now);
    /// As far as it has gone.
    [[nodiscard]] ConnectTrace trace(TimePoint now) const;

    static constexpr std::size_t most_entries = 32;

private:
    void close_step(ConnectTrace& trace, TimePoint now) const;

    mutable std::mutex mutex_;
    ConnectTrace trace_;        // both: guarded by mutex_
    TimePoint began_{};         // both: guarded by mutex_
    TimePoint step_began_{};    // both: guarded by mutex_; and ends when the next begins
    bool is_under_way_ = false; // both: guarded by mutex_
};

} // namespace sidecar::detail
