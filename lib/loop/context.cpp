// What transports and coroutines see of the loop: Context, Sink, Batch.
#include "loop/loop.hpp"

namespace sidecar {

std::string_view to_string(Phase phase) noexcept
{
    switch (phase) {
    case Phase::resolving: return "resolving the name";
    case Phase::connecting: return "connecting";
    case Phase::tls: return "in the TLS handshake";
    case Phase::handshaking: return "in the handshake";
    case Phase::open: return "open";
    case Phase::closing: return "closing";
    case Phase::down: return "down";
    }
    return "in an unknown phase";
}

boost::asio::any_io_executor Context::executor() const { return loop_->tasks().executor(*task_); }

TimePoint Context::now() const { return loop_->now(); }

Task<> Context::sleep_until(TimePoint when) const
{
    waiting_for("a point in time");
    return loop_->sleep_until(when);
}

Task<> Context::sleep_for(Duration duration) const
{
    return sleep_until(deadline_after(now(), duration));
}

Task<bool> Context::wait(LoopEvent& event, TimePoint deadline) const
{
    return loop_->wait(event, deadline);
}

Task<std::vector<boost::asio::ip::address>> Context::resolve(std::string host) const
{
    phase(Phase::resolving);
    return detail::look_up(*loop_, std::move(host));
}

void Context::phase(Phase phase, std::string detail) const
{
    if (link_)
        link_->set_phase(phase, std::move(detail));
    task_->waiting(to_string(phase).data());
}

void Context::waiting_for(const char* what) const { task_->waiting(what); }

void Context::log(LogLevel level, std::string_view text) const { loop_->log(level, text); }

MessageView Batch::iterator::operator*() const { return ring_->view(ring_->settle(position_)); }

Batch::iterator& Batch::iterator::operator++()
{
    position_ = ring_->after(ring_->settle(position_));
    return *this;
}

void Batch::mark_written(std::size_t count) const { link_->mark_written(count, to_); }

} // namespace sidecar
