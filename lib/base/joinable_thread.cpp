#include "base/joinable_thread.hpp"

#include "base/signals_blocked.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <system_error>
#include <utility>

namespace sidecar::detail {

void JoinableThread::start(std::function<void()> function)
{
    auto owned = std::make_unique<std::function<void()>>(std::move(function));
    const auto entry = [](void* argument) -> void* {
        const std::unique_ptr<std::function<void()>> body{
            static_cast<std::function<void()>*>(argument)};
        (*body)();
        return nullptr;
    };
    const SignalsBlocked signals_blocked;
    if (const int code = ::pthread_create(&thread_, nullptr, entry, owned.get()); code != 0)
        throw std::system_error{code, std::generic_category()};
    (void)owned.release();
    is_joinable_ = true;
}

bool JoinableThread::join_until(TimePoint deadline) noexcept
{
    while (is_joinable_) {
        // The sanitizers know no join on the steady clock. A jump of the other one is seen below,
        // or costs its own length if it goes back just while a destructor blocks.
        const auto left = std::clamp<Duration>(deadline - std::chrono::steady_clock::now(),
                                               Duration{}, std::chrono::hours{24});
        const auto until = std::chrono::system_clock::now().time_since_epoch() + left;
        const auto seconds = std::chrono::floor<std::chrono::seconds>(until);
        const ::timespec when{.tv_sec = seconds.count(), .tv_nsec = (until - seconds).count()};
        const int code = ::pthread_timedjoin_np(thread_, nullptr, &when);
        if (code != ETIMEDOUT)
            is_joinable_ = false;
        else if (std::chrono::steady_clock::now() >= deadline)
            return false;
    }
    return true;
}

void JoinableThread::detach() noexcept
{
    if (std::exchange(is_joinable_, false))
        ::pthread_detach(thread_);
}

} // namespace sidecar::detail
