#include "loop/event_loop.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <chrono>
#include <exception>
#include <utility>

namespace sidecar::detail {
namespace {

namespace asio = boost::asio;

TimePoint real_now() noexcept { return std::chrono::steady_clock::now(); }

} // namespace

thread_local const EventLoop* EventLoop::running_here = nullptr;

EventLoop::EventLoop(Settings settings, Journal& journal)
    : settings_{std::move(settings)},
      journal_{journal},
      io_{std::make_unique<asio::io_context>(1)},
      timers_{*io_, settings_.is_virtual ? ClockKind::virtual_time : ClockKind::steady},
      tasks_{*io_, timers_},
      sleepers_{timers_}
{
}

EventLoop::~EventLoop() { discard_pending(); }

void EventLoop::discard_pending() noexcept
{
    sleepers_.clear();
    timers_.close();
    io_.reset();
}

void EventLoop::run() noexcept
{
    running_here = this;
    const auto work = asio::make_work_guard(*io_);
    while (!io_->stopped()) {
        try {
            run_handlers();
        } catch (...) {
            journal_.record(
                to_failure(std::current_exception(), Error::callback_failed, "run a handler", {}));
        }
    }
}

void EventLoop::run_handlers()
{
    if (settings_.is_virtual)
        run_on_virtual_time();
    else if (settings_.spin > Duration{})
        run_spinning();
    else
        run_yielding();
}

void EventLoop::run_yielding()
{
    while (!io_->stopped()) {
        if (io_->poll() != 0)
            continue;
        const bool has_come =
            yield_.until([this] { return io_->poll() != 0; }, settings_.bytes_gone_by());
        if (!has_come && !io_->stopped())
            io_->run_one();
    }
}

void EventLoop::run_spinning()
{
    while (!io_->stopped()) {
        for (auto until = deadline_after(real_now(), settings_.spin);
             !io_->stopped() && real_now() < until;) {
            if (io_->poll() != 0)
                until = deadline_after(real_now(), settings_.spin);
        }
        if (!io_->stopped())
            io_->run_one();
    }
}

void EventLoop::run_on_virtual_time()
{
    while (!io_->stopped()) {
        while (io_->poll() != 0) {
        }
        // Nothing can run: if a thread of the application waits, it waits for time to pass.
        if (!io_->stopped() && (sleepers_.empty() || !timers_.jump()))
            io_->run_one();
    }
}

void EventLoop::post(std::function<void()> function) { asio::post(*io_, std::move(function)); }

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
