#include "loop/engine.hpp"

#include "base/real_time.hpp"

#include <boost/asio/executor_work_guard.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sidecar::detail {
namespace {

namespace asio = boost::asio;

void release(Engine::Membership membership) noexcept
{
    membership.member.reset();
    membership.released->count_down();
}

} // namespace

thread_local const Engine* Engine::running_here = nullptr;

Engine::Engine(bool is_virtual)
    : is_virtual_{is_virtual}, io_{std::make_unique<asio::io_context>(1)}
{
}

void Engine::run() noexcept
{
    running_here = this;
    {
        const auto work = asio::make_work_guard(*io_);
        while (!io_->stopped()) {
            try {
                run_handlers();
            } catch (...) {
                record(std::current_exception());
            }
        }
    }
    io_.reset(); // what it frees may refer to who leaves
    for (auto& membership : std::exchange(leaving_, {}))
        release(std::move(membership));
}

void Engine::run_handlers()
{
    while (!io_->stopped()) {
        if (io_->poll() != 0)
            continue;
        if (!look_again() && !io_->stopped())
            io_->run_one();
    }
}

/// Nothing can run just now. True: perhaps something can soon, without sleeping.
bool Engine::look_again()
{
    if (is_virtual_)
        return jump();
    if (spin_ == Duration{}) {
        std::uint64_t bytes = 0;
        for (const auto& membership : members_)
            bytes += membership.member->bytes_gone_by();
        return yield_.until([this] { return io_->poll() != 0; }, bytes);
    }
    for (const auto until = deadline_after(real_now(), spin_);
         !io_->stopped() && real_now() < until;) {
        if (io_->poll() != 0)
            return true;
    }
    return false;
}

/// If a thread of the application waits, it waits for time to pass.
bool Engine::jump()
{
    const bool has_sleeper = std::any_of(members_.begin(), members_.end(), [](const auto& each) {
        return each.member->has_sleeper();
    });
    if (!has_sleeper)
        return false;
    auto next = TimePoint::max();
    for (const auto& each : members_)
        next = std::min(next, each.member->next_timer());
    if (next == TimePoint::max())
        return false;
    if (next > virtual_now_.get())
        virtual_now_.since_start.store(next.time_since_epoch().count(), std::memory_order_release);
    for (const auto& each : members_)
        each.member->fire_timers();
    return true;
}

void Engine::record(std::exception_ptr exception)
{
    for (const auto& each : members_)
        each.member->record(exception);
}

void Engine::add(Membership membership)
{
    leaving_.reserve(leaving_.size() + members_.size() + 1); // so that remove() cannot fail
    members_.push_back(std::move(membership));
    note_spin();
    members_.back().member->attached();
}

void Engine::remove(const EngineMember& member, bool is_the_end)
{
    const auto found = std::find_if(members_.begin(), members_.end(),
                                    [&](const auto& each) { return each.member.get() == &member; });
    auto membership = std::move(*found);
    members_.erase(found);
    note_spin();
    if (is_the_end)
        leaving_.push_back(std::move(membership));
    else
        release(std::move(membership));
}

void Engine::note_spin()
{
    spin_ = {};
    for (const auto& each : members_)
        spin_ = std::max(spin_, each.member->spin());
}

TaskScope& Engine::lend_scope(std::string owner, const Timers& timers)
{
    std::lock_guard lock{mutex_};
    if (free_scopes_.empty()) {
        free_scopes_.reserve(scopes_.size() + 1); // so that give_back() cannot fail
        scopes_.push_back(std::make_unique<TaskScope>(*io_, use_));
        free_scopes_.push_back(scopes_.back().get());
    }
    auto& scope = *free_scopes_.back();
    scope.lend(std::move(owner), timers);
    free_scopes_.pop_back();
    return scope;
}

void Engine::give_back(TaskScope& scope) noexcept
{
    scope.release();
    std::lock_guard lock{mutex_};
    free_scopes_.push_back(&scope);
}

} // namespace sidecar::detail
