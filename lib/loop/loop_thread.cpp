#include "loop/loop_thread.hpp"

#include <sidecar/stats.hpp>

#include <utility>

namespace sidecar {
namespace detail {
namespace {

std::atomic<std::uint64_t> left_alone{0};

} // namespace

void LoopThread::start(std::function<void()> function)
{
    thread_.start([this, run = std::move(function)] {
        id_.store(std::this_thread::get_id());
        run();
    });
}

void LoopThread::end()
{
    if (fate_.exchange(Fate::ended) == Fate::left_alone)
        left_alone.fetch_sub(1);
    done_.count_down();
}

void LoopThread::leave_alone() noexcept
{
    left_alone.fetch_add(1);
    if (fate_.exchange(Fate::left_alone) == Fate::ended)
        left_alone.fetch_sub(1); // it ended in this very moment
    thread_.detach();
}

std::uint64_t LoopThread::left_alone_count() noexcept { return left_alone.load(); }

} // namespace detail

std::uint64_t orphan_count() noexcept { return detail::LoopThread::left_alone_count(); }

} // namespace sidecar
