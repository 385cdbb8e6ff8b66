#include "link/writer.hpp"

#include <utility>

namespace sidecar::detail {

Task<> Writer::run(Context ctx, AnyTransport& transport, Hooks hooks)
{
    for (;;) {
        hooks.look();
        auto batch = outbox_.next_batch();
        if (!batch) {
            hooks.idle();
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
            hooks.begin();
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
    if (at == begin) {
        if (!std::exchange(is_refused_, true))
            count_.fetch_add(1, std::memory_order_relaxed);
        return std::nullopt;
    }
    is_refused_ = false;
    return batch.until(at);
}

/// Marks the time of a wait, also of one that is cancelled.
class Writer::Waiting {
public:
    explicit Waiting(Writer& writer) : writer_{writer} { writer_.waiting_since_.store(now()); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting()
    {
        const auto since = writer_.waiting_since_.exchange(not_waiting);
        writer_.total_.fetch_add(now() - since);
    }

private:
    [[nodiscard]] Duration::rep now() const
    {
        return writer_.loop_.now().time_since_epoch().count();
    }
    Writer& writer_;
};

Task<> Writer::wait_for_rate(Context ctx)
{
    ctx.waiting_for("the rate limit");
    const Waiting waiting{*this};
    (void)co_await ctx.wait(work_, limiter_->next_at());
}

Writer::Waits Writer::waits() const noexcept
{
    const auto since = waiting_since_.load();
    const auto now = since == not_waiting ? 0 : loop_.now().time_since_epoch().count() - since;
    return {count_.load(std::memory_order_relaxed), Duration{total_.load() + now}};
}

} // namespace sidecar::detail
