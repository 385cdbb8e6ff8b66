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
      timers_{*io_, settings_.time.get()},
      tasks_{*this},
      wake_up_{*io_, [this] { settings_.on_wake(); }}
{
    if (settings_.time)
        settings_.time->add(turns_);
}

void EventLoop::leave() noexcept
{
    if (settings_.time)
        settings_.time->remove(turns_);
}

void EventLoop::discard_pending() noexcept
{
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
            if (settings_.time)
                take_turn(*settings_.time);
            else
                run_handlers();
        } catch (...) {
            journal_.record(std::current_exception(), "run a handler");
        }
    }
}

void EventLoop::run_handlers()
{
    while (!io_->stopped())
        if (settings_.busy_poll <= Duration{} || (io_->poll() == 0 && !spin()))
            io_->run_one();
}

void EventLoop::take_turn(VirtualTime& time)
{
    const auto limit = time.begin_turn(turns_);
    if (limit == 0) { // the loop is left to itself, and time does not pass for it
        io_->run_one();
        return;
    }
    bool has_run = false, is_quiet = false;
    const auto end = [&] {
        if (!io_->stopped()) // else the thread keeps its turn until leave()
            time.end_turn(turns_, has_run, is_quiet, timers_.next());
    };
    try {
        for (std::size_t count = 0; count < limit && !is_quiet; ++count) {
            is_quiet = io_->poll_one() == 0 && !timers_.fire_due();
            has_run = has_run || !is_quiet;
        }
    } catch (...) {
        has_run = true;
        end();
        throw;
    }
    end();
}

/// Called when no handler is ready. False: the thread should sleep.
bool EventLoop::spin()
{
    return spin_.until([this] { return io_->poll() != 0 || io_->stopped(); }, settings_.busy_poll,
                       Spin::wanted);
}

void EventLoop::post(std::function<void()> function)
{
    std::lock_guard lock{io_mutex_};
    if (!io_)
        return;
    asio::post(*io_, std::move(function));
    touch();
}

void EventLoop::wake() noexcept
{
    std::lock_guard lock{io_mutex_};
    if (!io_)
        return;
    wake_up_.schedule();
    touch();
}

} // namespace sidecar::detail
