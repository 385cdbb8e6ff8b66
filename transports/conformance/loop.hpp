// The kit's event loop, on real or virtual time, and the operations of a transport that run on it.
#pragma once

#include <sidecar/context.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/transport.hpp>

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sidecar::conformance {

/// A violation. Thrown by the kit's code, through no transport.
struct RuleBroken {
    int rule;
    std::string saw;
};

/// Ends a thread that the kit has left behind.
struct Abandoned {};

/// The signs of life by which the caller's thread sees that the transport holds the kit's thread.
struct Progress {
    std::atomic<std::uint64_t> turns{0};            // both: atomic
    std::atomic<const char*> operation{"the peer"}; // both: atomic; a string literal
    std::atomic<bool> is_abandoned{false};          // both: atomic
};

/// Runs handlers one by one, so that a trial can act between any two of them. Side: the kit's
/// thread.
class Loop {
public:
    Loop(Progress& progress, bool is_virtual);
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    [[nodiscard]] boost::asio::io_context& io() noexcept { return io_; }
    [[nodiscard]] TimePoint now() const noexcept;
    [[nodiscard]] bool is_virtual() const noexcept { return is_virtual_; }
    /// Runs one handler or one timer, or waits for a moment. False: nothing happens before `until`.
    [[nodiscard]] bool step(TimePoint until);
    /// Runs what is left without the kit's own work, until `until`. False: something is left.
    [[nodiscard]] bool finish(TimePoint until);
    /// The number of handlers and timers that ran.
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
    [[nodiscard]] std::size_t timer_count() const noexcept { return timers_.size(); }

    using TimerKey = std::pair<TimePoint, std::uint64_t>;
    [[nodiscard]] TimerKey add_timer(TimePoint when, std::function<void()> callback);
    void remove_timer(const TimerKey& key) noexcept { timers_.erase(key); }

    Progress& progress;               // sidecar side
    std::function<void()> after_step; // sidecar side; called after each handler and timer

private:
    [[nodiscard]] bool fire_timer();
    void ran();

    using Work = boost::asio::executor_work_guard<boost::asio::io_context::executor_type>;

    const bool is_virtual_;                            // sidecar side
    TimePoint virtual_now_{};                          // sidecar side
    std::map<TimerKey, std::function<void()>> timers_; // sidecar side
    std::uint64_t last_timer_ = 0;                     // sidecar side
    std::uint64_t steps_ = 0;                          // sidecar side
    boost::asio::io_context io_{1};                    // sidecar side
    std::optional<Work> work_;                         // sidecar side
};

/// One call of a transport as a coroutine, with its view of the loop. Used again for the next call
/// of the same member once it has ended. Lifetime: as its driver, also while nothing runs.
class Operation final : public ContextBase {
public:
    Operation(Loop& loop, const char* name) noexcept : loop_{loop}, name_{name} {}

    boost::asio::any_io_executor executor() override;
    TimePoint now() const override { return loop_.now(); }
    Task<> sleep_until(TimePoint when) override;
    Task<bool> wait(LoopEvent& event, TimePoint deadline) override;
    Task<std::vector<boost::asio::ip::address>> resolve(std::string host) override;
    void phase(Phase, std::string_view) override {}
    void negotiated(std::string_view) override {}
    void waiting_for(const char* what) override { waits_for_ = what; }
    void log(LogLevel, std::string_view) override {}

    using Call = std::function<Task<>(Context)>;
    void start(Call call, TimePoint deadline);
    void cancel() { cancellation_.emit(boost::asio::cancellation_type::terminal); }

    [[nodiscard]] const char* name() const noexcept { return name_; }
    [[nodiscard]] bool is_running() const noexcept { return is_running_; }
    /// Whether the transport's coroutine is between its begin and its end.
    [[nodiscard]] bool is_inside() const noexcept { return is_inside_; }
    /// Whether that coroutine has ended since start().
    [[nodiscard]] bool has_returned() const noexcept { return has_returned_; }
    [[nodiscard]] bool waits_in_context() const noexcept { return context_waits_ != 0; }
    /// How often it was resumed since start().
    [[nodiscard]] unsigned resumptions() const noexcept { return resumptions_; }
    /// Why the last call failed; null: it returned.
    [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }
    [[nodiscard]] std::string describe() const;
    void resumed() noexcept;

private:
    [[nodiscard]] Task<> run(Call call, TimePoint deadline);

    Loop& loop_;                                    // sidecar side
    const char* const name_;                        // sidecar side; a string literal
    const char* waits_for_ = nullptr;               // sidecar side; a string literal
    boost::asio::cancellation_signal cancellation_; // sidecar side
    std::exception_ptr error_;                      // sidecar side
    unsigned resumptions_ = 0;                      // sidecar side
    unsigned context_waits_ = 0;                    // sidecar side
    bool is_running_ = false;                       // sidecar side
    bool is_inside_ = false;                        // sidecar side
    bool has_returned_ = false;                     // sidecar side
};

} // namespace sidecar::conformance
