// The part of LinkImpl that the application's threads call.
#include "base/failures.hpp"
#include "link/link.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sidecar::detail {

Failure LinkImpl::refusal(const char* attempted) const
{
    const auto code = services_.stop.is_made()     ? services_.stop.refusal()
                      : is_close_requested_.load() ? Error::link_closed
                                                   : Error::not_connected;
    const auto state = state_.state();
    const bool may_come_up = state <= LinkState::State::up || state == LinkState::State::backing_off
                             || (state == LinkState::State::failing && backoff_);
    const Failure why{code, {.attempted = attempted, .endpoint = settings_.endpoint}};
    return why.with_link(id()).with_retry(code == Error::not_connected && may_come_up);
}

bool LinkImpl::is_over() const noexcept
{
    return services_.stop.is_made() || is_close_requested_.load()
           || state_.state() >= LinkState::State::down;
}

Requests& LinkImpl::requests()
{
    std::call_once(requests_once_, [this] {
        requests_ = std::make_unique<Requests>(*this);
        sink_.set_requests(requests_.get());
    });
    return *requests_;
}

Result<void> LinkImpl::close(Duration timeout, CloseReason reason)
{
    auto& loop = services_.loop;
    if (loop.is_loop_thread())
        return called_on_loop("close", settings_.endpoint);
    if (state_.state() == LinkState::State::ended)
        return {};
    if (services_.stop.is_made())
        return refusal("close");
    const auto now = loop.now();
    const auto deadline = deadline_after(now, std::max(timeout, Duration{}));
    request_close(deadline_after(now, std::max(timeout, Duration{}) / 2), deadline,
                  std::move(reason));
    // The loop cuts the link off at the deadline; 20 ms more let it do so.
    const auto patience = deadline_after(deadline, std::chrono::milliseconds{20});
    const bool woke = services_.progressed.wait_until(
        loop, patience, [&] { return closed_.is_known() || services_.stop.is_made(); });
    if (closed_.is_known())
        return closed_.get();
    return woke ? refusal("close") : timed_out_close();
}

void LinkImpl::request_close(TimePoint drain_by, TimePoint deadline, CloseReason reason)
{
    is_close_requested_ = true;
    services_.loop.post(
        [self = shared_from_this(), drain_by, deadline, reason = std::move(reason)]() mutable {
            self->close_alone(drain_by, deadline, std::move(reason));
        });
}

void LinkImpl::withdraw()
{
    const auto now = services_.loop.now();
    request_close(now, deadline_after(now, std::chrono::seconds{1}), {});
}

std::string LinkImpl::describe() const
{
    return fmt::format("link {} ({}): {}, outbox {} messages", static_cast<std::uint32_t>(id()),
                       settings_.endpoint, note_.text(), outbox_.counts().queued);
}

} // namespace sidecar::detail
