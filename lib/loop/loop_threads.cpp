#include "loop/loop_threads.hpp"

#include "base/fork_guard.hpp"

#include <sidecar/error.hpp>

#include <chrono>
#include <system_error>
#include <utility>

namespace sidecar {
namespace detail {
namespace {

/// So long the last handle waits for an idle thread's end.
constexpr std::chrono::seconds patience{1};

constexpr const char* attempted = "start on a shared thread";

} // namespace

LoopThreads::LoopThreads() : fork_generation_{fork_generation()} {}

LoopThreads::~LoopThreads()
{
    if (!host_)
        return;
    if (has_forked_since(fork_generation_)) { // the thread is the parent's
        new std::shared_ptr<LoopHost>{std::move(host_)};
        return;
    }
    host_->close();
    if (host_->engine().is_loop_thread()
        || !host_->join_until(deadline_after(std::chrono::steady_clock::now(), Duration{patience})))
        host_->leave_alone();
}

LoopLease LoopThreads::lease(bool is_virtual)
{
    if (has_forked_since(fork_generation_))
        throw Exception{Failure{Error::forked, {.attempted = attempted}}};
    std::lock_guard lock{mutex_};
    if (host_ && host_->engine().is_virtual() != is_virtual)
        throw Exception{Failure{
            Error::bad_options,
            {.attempted = attempted,
             .explanation = "its sidecars run on another kind of clock, real or virtual time"}}};
    if (host_ && host_->lease())
        return LoopLease{host_};
    auto host = LoopHost::make(is_virtual, LoopHost::Use::shared);
    try {
        host->start();
    } catch (const std::system_error& e) {
        throw Exception{Failure{Error::no_resources, {.attempted = attempted, .cause = e.code()}}};
    }
    (void)host->lease();
    host_ = host;
    return LoopLease{std::move(host)};
}

std::shared_ptr<LoopHost> LoopThreads::present() const noexcept
{
    std::lock_guard lock{mutex_};
    return host_;
}

std::size_t LoopThreads::leases() const noexcept
{
    const auto host = present();
    return host ? host->leases() : 0;
}

bool LoopThreads::is_current() const noexcept
{
    const auto host = present();
    return host && host->engine().is_loop_thread();
}

} // namespace detail

LoopThread::LoopThread() : threads_{std::make_shared<detail::LoopThreads>()} {}

std::size_t LoopThread::sidecars() const noexcept { return threads_->leases(); }

bool LoopThread::is_current() const noexcept { return threads_->is_current(); }

} // namespace sidecar
