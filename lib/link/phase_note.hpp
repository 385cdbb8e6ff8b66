// What a link says of itself: the phase that it is in, and what it agreed on with its peer.
#pragma once

#include <sidecar/context.hpp>

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

namespace sidecar::detail {

/// Written by the link's tasks, read by dump(), reports and the application. Owned by its link.
/// Side: any thread.
class PhaseNote {
public:
    void set(Phase phase, std::string_view detail)
    {
        phase_.store(phase);
        std::lock_guard lock{mutex_};
        detail_ = detail;
    }
    void set_protocol(std::string_view protocol)
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

private:
    std::atomic<Phase> phase_{Phase::connecting}; // both: atomic
    mutable std::mutex mutex_;
    std::string detail_;   // both: guarded by mutex_
    std::string protocol_; // both: guarded by mutex_
};

} // namespace sidecar::detail
