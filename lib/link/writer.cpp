#include "link/writer.hpp"

#include "link/connection.hpp"

#include <utility>

namespace sidecar::detail {

Task<> Writer::run(Context ctx, AnyTransport& transport, Connection& connection)
{
    for (;;) {
        connection.look_whether_restored();
        auto batch = outbox_.next_batch();
        if (!batch) {
            connection.nothing_to_write();
            if (outbox_.prepare_sleep()) {
                ctx.waiting_for("messages to send");
                co_await work_.wait();
            }
            outbox_.woke();
            continue;
        }
        if (limiter_ && outbox_.is_rate_limited()) {
            batch = allowed(*batch);
            if (!batch) {
                outbox_.put_back();
                co_await wait_for_rate(ctx);
                continue;
            }
        }
        outbox_.begin_write(*batch);
        if (outbox_.is_priority())
            connection.watch_for_answers();
        ctx.waiting_for("the peer to take what is written");
        co_await transport.write(ctx, *batch);
        writes_.fetch_add(1, std::memory_order_relaxed);
        outbox_.finish(*batch);
        loop_.expect_answer();
    }
}

/// As much of the batch as may go now, which then counts as sent. Empty: nothing.
std::optional<Batch> Writer::allowed(const Batch& batch)
{
    const auto now = loop_.now();
    const auto begin = batch.begin(), end = batch.end();
    auto at = begin;
    while (at != end && limiter_->take(at->size(), now))
        ++at;
    if (at == begin)
        return std::nullopt;
    is_refused_ = false;
    return batch.until(at);
}

Task<> Writer::wait_for_rate(Context ctx)
{
    ctx.waiting_for("the rate limit");
    waits_.begin(loop_.now(), !std::exchange(is_refused_, true));
    try {
        (void)co_await ctx.wait(work_, limiter_->next_at());
    } catch (...) {
        waits_.end(loop_.now());
        throw;
    }
    waits_.end(loop_.now());
}

} // namespace sidecar::detail
