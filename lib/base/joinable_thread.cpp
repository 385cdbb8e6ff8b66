#include "base/joinable_thread.hpp"

#include <sidecar/detail/library_thread.hpp>
#include <sidecar/detail/signals_blocked.hpp>
#include <sidecar/stats.hpp>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <system_error>
#include <utility>

namespace sidecar {
namespace detail {
namespace {

std::atomic<std::uint64_t> orphans{0};
constinit thread_local bool is_ours = false;

} // namespace

bool is_library_thread() noexcept { return is_ours; }

void JoinableThread::start(std::function<void()> function)
{
    auto owned = std::make_unique<std::function<void()>>([this, run = std::move(function)] {
        id_.store(std::this_thread::get_id());
        run();
    });
    const auto entry = [](void* argument) -> void* {
        const std::unique_ptr<std::function<void()>> body{
            static_cast<std::function<void()>*>(argument)};
        is_ours = true;
        (*body)();
        return nullptr;
    };
    const SignalsBlocked signals_blocked;
    std::lock_guard lock{mutex_};
    if (const int code = ::pthread_create(&thread_, nullptr, entry, owned.get()); code != 0)
        throw std::system_error{code, std::generic_category()};
    (void)owned.release();
    if (is_detached_)
        ::pthread_detach(thread_);
    else
        is_joinable_ = true;
}

JoinableThread::~JoinableThread()
{
    if (is_joinable_)
        ::pthread_detach(thread_);
    if (is_orphan_ && !has_ended_) // it never started
        orphans.fetch_sub(1);
}

bool JoinableThread::join_until(TimePoint deadline) noexcept
{
    const auto now = [] { return std::chrono::steady_clock::now(); };
    constexpr std::chrono::hours long_enough{24}; // for one wait
    std::unique_lock lock{mutex_};
    while (is_joinable_) {
        if (is_joining_) { // another thread joins
            changed_.wait_until(lock, std::min(deadline, deadline_after(now(), long_enough)));
        } else {
            is_joining_ = true;
            lock.unlock();
            // The system clock, since the sanitizers know no join on the steady clock. If it jumps
            // forward, the loop joins again. If it jumps back while a destructor blocks, the wait
            // is longer by the jump.
            const auto left = std::clamp<Duration>(deadline - now(), Duration{}, long_enough);
            const auto until = std::chrono::system_clock::now().time_since_epoch() + left;
            const auto seconds = std::chrono::floor<std::chrono::seconds>(until);
            const ::timespec when{.tv_sec = seconds.count(), .tv_nsec = (until - seconds).count()};
            const int code = ::pthread_timedjoin_np(thread_, nullptr, &when);
            lock.lock();
            is_joining_ = false;
            is_joinable_ = code == ETIMEDOUT;
            is_joined_ = !is_joinable_;
            changed_.notify_all();
        }
        if (is_joinable_ && now() >= deadline)
            return false;
    }
    return true;
}

void JoinableThread::mark_ended() noexcept
{
    {
        std::lock_guard lock{mutex_};
        if (is_orphan_)
            orphans.fetch_sub(1);
        has_ended_ = true;
    }
    changed_.notify_all(); // without the lock: the waiter would wake up to wait for it
}

bool JoinableThread::wait_for_end(TimePoint deadline)
{
    std::unique_lock lock{mutex_};
    return changed_.wait_until(lock, deadline, [this] { return has_ended_.load(); });
}

bool JoinableThread::orphan() noexcept
{
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return !is_joining_; });
    if (is_joined_ || std::exchange(is_detached_, true))
        return false;
    if (std::exchange(is_joinable_, false))
        ::pthread_detach(thread_);
    is_orphan_ = !has_ended_;
    orphans.fetch_add(is_orphan_ ? 1 : 0);
    changed_.notify_all();
    return true;
}

std::uint64_t JoinableThread::orphan_count() noexcept { return orphans.load(); }

} // namespace detail

std::uint64_t orphan_count() noexcept { return detail::JoinableThread::orphan_count(); }

} // namespace sidecar
