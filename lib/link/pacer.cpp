#include "link/pacer.hpp"

#include <utility>

namespace sidecar::detail {

std::optional<Batch> Pacer::allowed(const Batch& batch)
{
    if (is_off())
        return batch;
    const auto now = clock_.now();
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
class Pacer::Waiting {
public:
    explicit Waiting(Pacer& pacer) : pacer_{pacer} { pacer_.waiting_since_.store(now()); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting()
    {
        const auto since = pacer_.waiting_since_.exchange(not_waiting);
        pacer_.total_.fetch_add(now() - since);
    }

private:
    [[nodiscard]] Duration::rep now() const
    {
        return pacer_.clock_.now().time_since_epoch().count();
    }
    Pacer& pacer_;
};

Task<> Pacer::wait(Context ctx)
{
    ctx.waiting_for("the rate limit");
    const Waiting waiting{*this};
    (void)co_await ctx.wait(work_, limiter_->next_at());
}

Pacer::Waits Pacer::waits() const noexcept
{
    const auto since = waiting_since_.load();
    const auto now = since == not_waiting ? 0 : clock_.now().time_since_epoch().count() - since;
    return {count_.load(std::memory_order_relaxed), Duration{total_.load() + now}};
}

} // namespace sidecar::detail
