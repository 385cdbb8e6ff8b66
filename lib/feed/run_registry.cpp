#include "feed/run_registry.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <thread>
#include <utility>

namespace sidecar::detail {

RunRegistry::Lease::Lease(const RunRegistry& runs) noexcept
{
    for (;;) {
        const auto generation = runs.generation_.load(std::memory_order_seq_cst);
        calls_ = &runs.calls_[generation % 2];
        calls_->fetch_add(1, std::memory_order_seq_cst);
        if (runs.generation_.load(std::memory_order_seq_cst) == generation)
            break;
        // A start came between: counted in the wrong place
        calls_->fetch_sub(1, std::memory_order_release);
    }
    run_ = runs.current_.load(std::memory_order_seq_cst);
}

std::vector<RunRegistry::Retired> RunRegistry::replace(std::shared_ptr<Run> run)
{
    retired_.reserve(retired_.size() + 1);
    std::vector<Retired> unreachable, kept;
    kept.reserve(retired_.size() + 1);
    const auto generation = generation_.load();
    if (present_)
        retired_.push_back({std::move(present_), generation});
    present_ = std::move(run);
    current_.store(present_.get(), std::memory_order_seq_cst);
    const auto& last_calls = calls_[(generation + 1) % 2];
    // They are short, since that run is over, but a thread may be off its core in the middle of one.
    if (retired_.size() > 2)
        for (const auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds{20};
             last_calls.load(std::memory_order_seq_cst) != 0
             && std::chrono::steady_clock::now() < give_up;)
            std::this_thread::yield();
    if (last_calls.load(std::memory_order_seq_cst) != 0)
        return unreachable;
    generation_.store(generation + 1, std::memory_order_seq_cst);
    // In order of their generations.
    const auto reachable = std::find_if(retired_.begin(), retired_.end(), [&](const Retired& old) {
        return old.generation >= generation;
    });
    kept.assign(std::make_move_iterator(reachable), std::make_move_iterator(retired_.end()));
    retired_.erase(reachable, retired_.end());
    unreachable = std::exchange(retired_, std::move(kept));
    return unreachable;
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

void RunRegistry::leak() noexcept
{
    new std::shared_ptr<Run>{std::move(present_)};
    new std::vector<Retired>{std::move(retired_)};
    new std::shared_ptr<NotifyFd>{std::move(readable_)};
}

} // namespace sidecar::detail
