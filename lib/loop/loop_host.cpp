#include "loop/loop_host.hpp"

#include <sidecar/stats.hpp>

#include <boost/asio/post.hpp>

#include <utility>

namespace sidecar {
namespace detail {
namespace {

std::atomic<std::uint64_t> left_alone{0};

} // namespace

std::shared_ptr<LoopHost> LoopHost::make(bool is_virtual, Use use)
{
    return std::shared_ptr<LoopHost>{new LoopHost{is_virtual, use}};
}

bool LoopHost::lease() noexcept
{
    std::lock_guard lock{mutex_};
    if (!takes_more_)
        return false;
    ++leases_;
    return true;
}

std::size_t LoopHost::leases() const noexcept
{
    std::lock_guard lock{mutex_};
    return leases_;
}

void LoopHost::start()
{
    thread_.start([self = shared_from_this()] { self->run_thread(); });
}

void LoopHost::run_thread() noexcept
{
    id_.store(std::this_thread::get_id());
    engine_.run();
    if (fate_.exchange(Fate::ended) == Fate::left_alone)
        left_alone.fetch_sub(1);
    done_.count_down();
}

void LoopHost::attach(Engine::Membership membership)
{
    boost::asio::post(engine_.io(),
                      [this, m = std::move(membership)]() mutable { engine_.add(std::move(m)); });
}

bool LoopHost::give_back() noexcept
{
    std::lock_guard lock{mutex_};
    --leases_;
    if (use_ == Use::own)
        takes_more_ = false;
    return end_if_unused();
}

void LoopHost::close() noexcept
{
    std::lock_guard lock{mutex_};
    takes_more_ = false;
    (void)end_if_unused();
}

/// With mutex_ held.
bool LoopHost::end_if_unused() noexcept
{
    if (leases_ != 0 || takes_more_ || is_ending_)
        return false;
    is_ending_ = true;
    engine_.stop();
    return true;
}

bool LoopHost::join_until(TimePoint deadline) noexcept
{
    {
        std::lock_guard lock{mutex_};
        if (is_left_alone_)
            return false;
    }
    return done_.wait_until(deadline) && thread_.join_until(deadline);
}

void LoopHost::leave_alone() noexcept
{
    std::lock_guard lock{mutex_};
    takes_more_ = false;
    if (std::exchange(is_left_alone_, true))
        return;
    left_alone.fetch_add(1);
    if (fate_.exchange(Fate::left_alone) == Fate::ended)
        left_alone.fetch_sub(1); // it ended in this very moment
    thread_.detach();
    (void)end_if_unused();
}

std::uint64_t LoopHost::left_alone_count() noexcept { return left_alone.load(); }

LoopLease LoopLease::own(bool is_virtual)
{
    auto host = LoopHost::make(is_virtual, LoopHost::Use::own);
    (void)host->lease();
    return LoopLease{std::move(host)};
}

} // namespace detail

std::uint64_t orphan_count() noexcept { return detail::LoopHost::left_alone_count(); }

} // namespace sidecar
