// The phase of a link, the steps of its latest connecting, and the facts of its latest connection.
#pragma once

#include "base/wait_queue.hpp"

#include <sidecar/connect_trace.hpp>
#include <sidecar/connection_info.hpp>
#include <sidecar/context.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace sidecar::detail {

/// The link's tasks write it; dump(), reports and the application read it. Owned by its link.
/// Invariant: the steps of a connecting follow each other without a gap, so their times add up to
/// the total; there are at most `max_entries` of them, and as many attempts. Side: any thread.
class PhaseTracker {
public:
    /// Lifetime: `clock` outlives it.
    explicit PhaseTracker(const AppClock& clock) noexcept : clock_{clock} {}

    /// Begins a new connecting, and forgets the previous one.
    void begin_connecting();
    /// Ends the connecting, successful or not. A second call has no effect.
    void end_connecting();
    /// Sets the phase. One before Phase::open is also a step of the connecting under way; the others
    /// end the connecting.
    void set_phase(Phase phase, std::string_view detail);
    /// Sets the detail of this phase; no effect in another phase.
    void set_detail(Phase phase, std::string_view detail);
    void set_protocol(std::string_view protocol);
    /// Sets the facts of a new connection; its number and the protocol are added to them.
    void set_connection_info(ConnectionInfo info, std::uint32_t connection);
    /// Adds an attempt to the connecting under way; an empty `outcome`: the address that won.
    void record_tried(std::string_view address, std::string_view outcome, Duration elapsed);

    [[nodiscard]] std::string protocol() const;
    /// Returns the facts of the latest connection.
    [[nodiscard]] ConnectionInfo connection_info() const;
    /// Returns the phase and its detail: "connecting to 10.0.0.1:80".
    [[nodiscard]] std::string text() const;
    /// Returns text(), and how long each step of the connecting has taken.
    [[nodiscard]] std::string text_so_far() const;
    /// Returns the trace of the latest connecting, as far as it has got.
    [[nodiscard]] ConnectTrace trace() const;

    static constexpr std::size_t max_entries = 32;

private:
    void close_step(ConnectTrace& trace, TimePoint now) const;

    const AppClock& clock_; // both
    mutable std::mutex mutex_;
    Phase phase_ = Phase::connecting; // both: guarded by mutex_
    std::string detail_;              // both: guarded by mutex_
    std::string protocol_;            // both: guarded by mutex_
    std::string facts_; // both: guarded by mutex_; packed, for many links; empty: none yet
    std::shared_ptr<const TlsInfo> tls_; // both: guarded by mutex_; null: none
    ConnectTrace trace_;                 // both: guarded by mutex_
    TimePoint began_{};                  // both: guarded by mutex_
    TimePoint step_began_{};             // both: guarded by mutex_; also the end of the step before
    bool is_connecting_ = false;         // both: guarded by mutex_
};

} // namespace sidecar::detail
