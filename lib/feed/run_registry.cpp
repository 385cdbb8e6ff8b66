#include "feed/run_registry.hpp"

#include "base/real_time.hpp"

#include <chrono>
#include <thread>
#include <utility>

namespace sidecar::detail {

Run* RunRegistry::begin_call(std::atomic<int>*& calls) const noexcept
{
    for (;;) {
        const auto generation = generation_.load(std::memory_order_seq_cst);
        calls = &calls_[generation % 2];
        calls->fetch_add(1, std::memory_order_seq_cst);
        if (generation_.load(std::memory_order_seq_cst) == generation)
            return current_.load(std::memory_order_seq_cst);
        // A start() has replaced the run meanwhile: this call is in the wrong counter
        calls->fetch_sub(1, std::memory_order_release);
    }
}

std::vector<std::shared_ptr<Run>> RunRegistry::replace(std::shared_ptr<Run> run)
{
    using Clock = std::chrono::steady_clock;
    recent_.reserve(recent_.size() + 1);
    if (present_)
        recent_.push_back(std::move(present_));
    present_ = std::move(run);
    current_.store(present_.get(), std::memory_order_seq_cst);
    const auto generation = generation_.load();
    const auto& last_calls = calls_[(generation + 1) % 2];
    // Calls on an ended run are short, but a thread may be off its core in the middle of one.
    if (recent_.size() + older_.size() > 2)
        for (const auto give_up = Clock::now() + std::chrono::milliseconds{20};
             last_calls.load(std::memory_order_seq_cst) != 0 && Clock::now() < give_up;)
            std::this_thread::yield();
    if (last_calls.load(std::memory_order_seq_cst) != 0)
        return {};
    generation_.store(generation + 1, std::memory_order_seq_cst);
    return std::exchange(older_, std::exchange(recent_, {}));
}

const NotifyFd& RunRegistry::make_readable()
{
    std::lock_guard lock{mutex_};
    if (!readable_) {
        readable_ = std::make_shared<NotifyFd>();
        if (present_)
            present_->inbox().notify_through(readable_);
    }
    return *readable_;
}

void RunRegistry::request_stop() noexcept
{
    set_stop_pending(true);
    count_stop_request();
    std::atomic<int>* calls = nullptr;
    if (auto* run = begin_call(calls); run && !is_forked())
        run->request_stop();
    calls->fetch_sub(1, std::memory_order_release);
}

bool RunRegistry::sleep_until(TimePoint deadline, std::uint32_t stops_before) noexcept
{
    for (;;) {
        const auto ticket = stop_requested_.ticket();
        const bool is_stopped = stop_requests() != stops_before;
        if (is_stopped || (deadline != TimePoint::max() && real_now() >= deadline)) {
            sleepers_.fetch_sub(1, std::memory_order_release);
            return !is_stopped;
        }
        stop_requested_.wait(ticket, deadline);
    }
}

/// Waits for calls of other threads: the stop has woken them. A handler of poll() may take longer.
bool RunRegistry::have_calls_ended() const noexcept
{
    const auto give_up = real_now() + std::chrono::milliseconds{250};
    const auto is_calling = [this] {
        return calls_[0].load(std::memory_order_seq_cst) + calls_[1].load(std::memory_order_seq_cst)
                   != 0
               || sleepers_.load(std::memory_order_seq_cst) != 0; // last: a call becomes a sleeper
    };
    while (is_calling() && real_now() < give_up)
        std::this_thread::yield();
    return !is_calling();
}

} // namespace sidecar::detail
