#include "connector.hpp"

#include "tls.hpp"

#include <utility>

namespace sidecar::stream {

Task<std::shared_ptr<Stream>> Connector::connect(Context ctx, Target target)
{
    under_way_ = co_await dialer_.connect(
        ctx, target.host, target.port,
        {.no_delay = target.no_delay, .keep_alive = target.keep_alive}, target.endpoint);
    if (target.tls) {
        ctx.phase(Phase::securing, "with " + under_way_->peer());
        under_way_ = co_await secure(ctx, under_way_, *target.tls, target.host, target.endpoint);
    }
    co_return std::exchange(under_way_, nullptr);
}

void Connector::abort() noexcept
{
    dialer_.abort();
    if (under_way_)
        under_way_->abort();
}

} // namespace sidecar::stream
