#include "loop/timers.hpp"

#include <utility>

namespace sidecar::detail {

Timers::Timer& Timers::Timer::operator=(Timer&& other) noexcept
{
    if (this != &other) {
        cancel();
        timers_ = std::exchange(other.timers_, nullptr);
        id_ = other.id_;
        when_ = other.when_;
    }
    return *this;
}

void Timers::Timer::cancel() noexcept
{
    if (!timers_)
        return;
    auto& queue = std::exchange(timers_, nullptr)->queue_;
    for (auto [it, end] = queue.equal_range(when_); it != end; ++it) {
        if (it->second.id == id_) {
            // The Asio timer may wake once for nothing; to arm it again would cost more
            queue.erase(it);
            return;
        }
    }
}

Timers::Timers(boost::asio::io_context& io, const VirtualTime* time)
    : time_{time}, driver_{std::in_place, io}
{
}

void Timers::close() noexcept
{
    driver_.reset();
    queue_.clear();
}

TimePoint Timers::now() const noexcept
{
    return time_ ? time_->now() : std::chrono::steady_clock::now();
}

Timers::Timer Timers::at(TimePoint when, std::function<void()> callback)
{
    Timer timer;
    if (when == TimePoint::max())
        return timer;
    timer.timers_ = this;
    timer.id_ = ++last_id_;
    timer.when_ = when;
    queue_.emplace(when, Entry{timer.id_, std::move(callback)});
    if (!time_ && when < armed_for_)
        arm();
    return timer;
}

void Timers::arm()
{
    if (queue_.empty() || !driver_) {
        armed_for_ = TimePoint::max();
        return;
    }
    armed_for_ = queue_.begin()->first;
    driver_->expires_at(armed_for_);
    driver_->async_wait([this](boost::system::error_code ec) {
        if (ec)
            return;
        armed_for_ = TimePoint::max();
        try {
            fire_due();
        } catch (...) {
            arm(); // one failed callback must not stop the other timers
            throw;
        }
        arm();
    });
}

bool Timers::fire_due()
{
    bool has_fired = false;
    // A timer that a callback adds for the present moment waits for the next round, so that this
    // one ends.
    const auto limit = last_id_;
    const auto due = now();
    for (auto it = queue_.begin(); it != queue_.end() && it->first <= due;) {
        if (it->second.id > limit) {
            ++it;
            continue;
        }
        auto callback = std::move(it->second.callback);
        queue_.erase(it);
        has_fired = true;
        callback();
        it = queue_.begin();
    }
    return has_fired;
}

} // namespace sidecar::detail
