#include "base/joinable_thread.hpp"

#include "base/signals_blocked.hpp"

#include <sidecar/detail/library_thread.hpp>
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
    is_joinable_ = true;
}

bool JoinableThread::join_until(TimePoint deadline) noexcept
{
    std::unique_lock lock{mutex_};
    const auto thread = thread_;
    while (is_joinable_) {
        lock.unlock();
        // The sanitizers know no join on the steady clock. A jump of the other one is seen below,
        // or costs its own length if it goes back just while a destructor blocks.
        const auto left = std::clamp<Duration>(deadline - std::chrono::steady_clock::now(),
                                               Duration{}, std::chrono::hours{24});
        const auto until = std::chrono::system_clock::now().time_since_epoch() + left;
        const auto seconds = std::chrono::floor<std::chrono::seconds>(until);
        const ::timespec when{.tv_sec = seconds.count(), .tv_nsec = (until - seconds).count()};
        const int code = ::pthread_timedjoin_np(thread, nullptr, &when);
        lock.lock();
        if (code != ETIMEDOUT)
            is_joinable_ = false;
        else if (std::chrono::steady_clock::now() >= deadline)
            return false;
    }
    return true;
}

void JoinableThread::note_end() noexcept
{
    if (state_.exchange(State::ended) == State::orphaned)
        orphans.fetch_sub(1);
    ended_.count_down();
}

void JoinableThread::orphan() noexcept
{
    orphans.fetch_add(1);
    if (state_.exchange(State::orphaned) == State::ended)
        orphans.fetch_sub(1); // it ended in this very moment
    detach();
}

void JoinableThread::detach() noexcept
{
    std::lock_guard lock{mutex_};
    if (std::exchange(is_joinable_, false))
        ::pthread_detach(thread_);
}

std::uint64_t JoinableThread::orphan_count() noexcept { return orphans.load(); }

} // namespace detail

std::uint64_t orphan_count() noexcept { return detail::JoinableThread::orphan_count(); }

} // namespace sidecar
