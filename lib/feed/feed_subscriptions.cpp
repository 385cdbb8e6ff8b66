// The calls of Feed about the subscriptions that it keeps for the first link.
#include <sidecar/feed.hpp>

#include "feed/call.hpp"
#include "feed/run_registry.hpp"
#include "queue/memory_budget.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace sidecar {

using namespace detail;

namespace {

auto find(std::vector<Subscription>& subscriptions, std::string_view key)
{
    return std::find_if(subscriptions.begin(), subscriptions.end(),
                        [key](const auto& one) { return one.key == key; });
}

} // namespace

/// The lock orders it with a start(): a run begins with the subscription, or gets it here.
Result<void> Feed::add_subscription(Subscription subscription)
{
    const Call call{*this};
    if (auto refusal = call.refused_without_run("subscribe"))
        return std::move(*refusal);
    auto& runs = *call.runs();
    const auto config = runs.config();
    if (config->client_settings())
        return of_call(Failure{Error::misuse, {.explanation = "a listener has no peer"}},
                       "subscribe", config->endpoint());
    const auto outbox = outbox_limits({}, runs.options().outbox, config->max_message_bytes());
    auto message = SubscriptionMessage::of(subscription);
    if (auto valid = validate_subscription(*config, outbox.bytes, subscription.key, message);
        !valid)
        return of_call(valid.error(), "subscribe", config->endpoint());
    const auto lock = runs.lock();
    auto& kept = runs.subscriptions();
    auto its_key = subscription.key;
    if (const auto at = find(kept, its_key); at != kept.end())
        std::swap(*at, subscription); // the old one is freed without the lock
    else
        kept.push_back(std::move(subscription));
    if (const auto& run = runs.present())
        // A link that refuses has ended; the next start() subscribes
        (void)run->links().first()->writer().subscribe(std::move(its_key), std::move(message));
    return {};
}

Result<bool> Feed::remove_subscription(Subscription removal)
{
    const Call call{*this};
    if (auto refusal = call.refused_without_run("unsubscribe"))
        return std::move(*refusal);
    auto& runs = *call.runs();
    const auto config = runs.config();
    const auto key = std::move(removal.key);
    auto message = SubscriptionMessage::of(std::move(removal));
    if (!message.payload.empty())
        if (auto valid = validate_message(*config, message.kind, message.bytes()); !valid)
            return of_call(valid.error(), "unsubscribe", config->endpoint());
    std::optional<Subscription> removed; // freed without the lock
    const auto lock = runs.lock();
    auto& kept = runs.subscriptions();
    if (const auto at = find(kept, key); at != kept.end()) {
        removed = std::move(*at);
        kept.erase(at);
    }
    bool was_there = removed.has_value();
    if (const auto& run = runs.present()) {
        const auto on_link = run->links().first()->writer().unsubscribe(key, std::move(message));
        was_there = was_there || (on_link && *on_link);
    }
    return was_there;
}

} // namespace sidecar
