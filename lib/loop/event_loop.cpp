#include "loop/event_loop.hpp"

#include "base/real_time.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include <exception>

namespace sidecar::detail {

namespace asio = boost::asio;

thread_local const EventLoop* EventLoop::running_here = nullptr;

EventLoop::EventLoop(Settings settings, Journal& journal)
    : settings_{std::move(settings)},
      journal_{journal},
      io_{std::make_unique<asio::io_context>(1)},
      context_{*io_},
      timers_{*io_, settings_.is_virtual},
      tasks_{*this},
      wake_up_{*io_, [this] { settings_.on_wake(); }}
{
}

void EventLoop::discard_pending() noexcept
{
    tickets_.clear();
    timers_.close();
    std::unique_ptr<asio::io_context> io; // freed without the lock: its handlers may post
    std::lock_guard lock{io_mutex_};
    io.swap(io_);
}

void EventLoop::run() noexcept
{
    running_here = this;
    const auto work = asio::make_work_guard(*io_);
    while (!io_->stopped()) {
        try {
            run_handlers();
        } catch (...) {
            journal_.record(std::current_exception(), "run a handler");
        }
    }
}

void EventLoop::run_handlers()
{
    while (!io_->stopped()) {
        if (io_->poll() != 0)
            continue;
        if (!look_again() && !io_->stopped())
            io_->run_one();
    }
}

/// Called when no handler is ready. False: nothing will be ready soon, so the thread should sleep.
bool EventLoop::look_again()
{
    if (settings_.is_virtual)
        return sleepers_.load() > 0 && timers_.jump();
    if (settings_.busy_poll <= Duration{})
        return yield_.until([this] { return io_->poll() != 0; }, settings_.bytes_processed());
    for (const auto until = deadline_after(real_now(), settings_.busy_poll);
         !io_->stopped() && real_now() < until;) {
        if (io_->poll() != 0)
            return true;
    }
    return false;
}

void EventLoop::post(std::function<void()> function)
{
    std::lock_guard lock{io_mutex_};
    if (io_)
        asio::post(*io_, std::move(function));
}

void EventLoop::wake() noexcept
{
    std::lock_guard lock{io_mutex_};
    if (io_)
        wake_up_.schedule();
}

void EventLoop::arm(std::shared_ptr<Ticket> ticket)
{
    post([this, t = std::move(ticket)] {
        std::erase_if(tickets_,
                      [](const auto& each) { return each.first->point.has_ended(*each.first); });
        if (t->point.count(*t, sleepers_))
            tickets_.emplace_back(t, timers_.at(t->deadline, [t] { t->point.expire(*t); }));
    });
}

} // namespace sidecar::detail
