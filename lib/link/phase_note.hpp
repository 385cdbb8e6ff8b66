// What a link says of itself: the phase that it is in, and what it agreed on with its peer.
#pragma once

#include "base/wait_point.hpp"
#include "link/connect_log.hpp"
#include "loop/context.hpp"

#include <sidecar/context.hpp>

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

namespace sidecar::detail {

/// Written by the link's tasks, read by dump(), reports and the application. Owned by its link.
/// Side: any thread.
class PhaseNote final : public PhaseListener {
public:
    /// Lifetime: `clock` outlives it.
    explicit PhaseNote(const AppClock& clock) noexcept : clock_{clock} {}

    void set_phase(Phase phase, std::string_view detail) override
    {
        phase_.store(phase);
        if (phase < Phase::open)
            connecting_.enter(phase, detail, clock_.now());
        std::lock_guard lock{mutex_};
        detail_ = detail;
    }
    void set_protocol(std::string_view protocol) override
    {
        std::lock_guard lock{mutex_};
        protocol_ = protocol;
    }
    [[nodiscard]] std::string protocol() const
    {
        std::lock_guard lock{mutex_};
        return protocol_;
    }
    /// "connecting to 10.0.0.1:80"
    [[nodiscard]] std::string text() const
    {
        std::string text{to_string(phase_.load())};
        std::lock_guard lock{mutex_};
        if (!detail_.empty())
            text += " " + detail_;
        return text;
    }

    /// The same, and how long each phase of the connecting has taken.
    [[nodiscard]] std::string text_so_far() const
    {
        const auto times = to_string(trace());
        return times.empty() ? text() : text() + " (" + times + ")";
    }

    // --- the latest connecting
    void begin_connecting()
    {
        connecting_.begin(clock_.now());
        phase_.store(Phase::connecting); // no step yet: the transport tells its own
        std::lock_guard lock{mutex_};
        detail_.clear();
    }
    void end_connecting() { connecting_.end(clock_.now()); }
    void note_tried(std::string_view address, std::string_view outcome, Duration took) override
    {
        connecting_.tried(address, outcome, took);
    }
    [[nodiscard]] ConnectTrace trace() const { return connecting_.trace(clock_.now()); }

private:
    const AppClock& clock_;                       // both
    ConnectLog connecting_;                       // both
    std::atomic<Phase> phase_{Phase::connecting}; // both: atomic
    mutable std::mutex mutex_;
    std::string detail_;   // both: guarded by mutex_
    std::string protocol_; // both: guarded by mutex_
};

} // namespace sidecar::detail
