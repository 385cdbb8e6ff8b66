#include "loop/event_loop.hpp"

#include <exception>
#include <utility>

namespace sidecar::detail {

EventLoop::EventLoop(LoopLease lease, Settings settings, Journal& journal)
    : settings_{std::move(settings)},
      journal_{journal},
      lease_{std::move(lease)},
      tasks_{engine().lend_scope(settings_.owner, timers_)},
      timers_{tasks_.own_executor(), engine().virtual_now()},
      sleepers_{timers_},
      posted_{engine().io(), *this}
{
    tasks_.on_failure = [this](std::exception_ptr exception) { record(std::move(exception)); };
}

EventLoop::~EventLoop()
{
    discard_pending();
    engine().give_back(tasks_);
}

void EventLoop::discard_pending() noexcept
{
    posted_.close();
    sleepers_.clear();
    timers_.close();
}

void EventLoop::attach(const std::shared_ptr<void>& keeper, std::shared_ptr<Latch> released,
                       Hooks hooks)
{
    hooks_ = std::move(hooks);
    membership_ = Membership::coming;
    host().attach({std::shared_ptr<EngineMember>{keeper, static_cast<EngineMember*>(this)},
                   std::move(released)});
}

bool EventLoop::withdraw() noexcept
{
    auto coming = Membership::coming;
    return membership_.compare_exchange_strong(coming, Membership::left);
}

void EventLoop::attached()
{
    auto coming = Membership::coming;
    if (!membership_.compare_exchange_strong(coming, Membership::member)) {
        is_leaving_ = true;
        return engine().remove(*this, lease_.give_back());
    }
    hooks_.on_attached();
    posted_.open();
}

void EventLoop::stop()
{
    is_leaving_ = true;
    posted_.wake();
}

void EventLoop::run_posted()
{
    const TaskScope::Marked marked{tasks_};
    for (auto& function : posted_.take()) {
        try {
            function();
        } catch (...) {
            record(std::current_exception());
        }
        function = nullptr;
    }
    if (is_leaving_)
        leave();
    else
        posted_.done();
}

void EventLoop::leave()
{
    hooks_.on_leaving();
    discard_pending();
    tasks_.retire();
    membership_ = Membership::left;
    hooks_.on_left();
    // The last of all: it may free the run, and this with it.
    engine().remove(*this, lease_.give_back());
}

void EventLoop::record(std::exception_ptr exception)
{
    journal_.record(to_failure(std::move(exception), Error::callback_failed, "run a handler", {}));
}

TaskSlot& EventLoop::open_task(std::string name, PhaseListener* link)
{
    auto& slot = tasks_.open(std::move(name));
    slot.context.emplace(*this, slot, link);
    return slot;
}

Task<> EventLoop::sleep_until(TimePoint when)
{
    LoopEvent never;
    while (co_await wait(never, when)) {
    }
}

Task<bool> EventLoop::wait(LoopEvent& event, TimePoint deadline)
{
    bool is_late = false;
    const auto timer = timers_.at(deadline, [&] {
        is_late = true;
        event.set();
    });
    co_await event.wait();
    co_return !is_late;
}

void EventLoop::arm(std::shared_ptr<Ticket> ticket)
{
    post([this, ticket = std::move(ticket)]() mutable { sleepers_.add(std::move(ticket)); });
}

} // namespace sidecar::detail
