// The library's own ContextBase: a task's view of its loop.
#pragma once

#include <sidecar/context.hpp>

namespace sidecar::detail {

class EventLoop;
class PhaseNote;
struct TaskSlot;

/// What stands behind the Context of one task. Lives in the task's slot, so that a Context is valid
/// for as long as the loop is. Side: sidecar.
class TaskContext final : public ContextBase {
public:
    /// `link` is null for a task that is no link's.
    TaskContext(EventLoop& loop, TaskSlot& task, PhaseNote* link) noexcept
        : loop_{loop}, task_{task}, link_{link}
    {
    }

    boost::asio::any_io_executor executor() override;
    TimePoint now() const override;
    Task<> sleep_until(TimePoint when) override;
    Task<bool> wait(LoopEvent& event, TimePoint deadline) override;
    Task<std::vector<boost::asio::ip::address>> resolve(std::string host) override;
    void phase(Phase phase, std::string_view detail) override;
    void negotiated(std::string_view protocol) override;
    void tried(std::string_view address, std::string_view outcome, Duration took) override;
    void waiting_for(const char* what) override;
    void log(LogLevel level, std::string_view text) override;

private:
    EventLoop& loop_; // sidecar side
    TaskSlot& task_;  // sidecar side
    PhaseNote* link_; // sidecar side
};

} // namespace sidecar::detail
