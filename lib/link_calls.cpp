#include "link_calls.hpp"

#include "base/fork_guard.hpp"

#include <sidecar/detail/core.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace sidecar::detail {
namespace {

/// Why this link cannot be asked at all.
std::optional<Failure> refused(const LinkRef& ref, const char* attempted)
{
    if (!ref.link)
        return Failure{Error::misuse,
                       {.attempted = attempted, .explanation = "this Link was moved from"}};
    if (has_forked_since(ref.fork_generation))
        return Failure{Error::forked,
                       {.attempted = attempted, .endpoint = ref.link->config().endpoint()}};
    return std::nullopt;
}

bool is_here(const LinkRef& ref) noexcept
{
    return ref.link && !has_forked_since(ref.fork_generation);
}

} // namespace

TimePoint deadline_of(const Run& run, Duration timeout)
{
    return deadline_after(run.now(), std::max(timeout, Duration{}));
}

Result<void> send_on(Run& run, LinkImpl& link, MessageKind kind, std::span<const std::byte> payload,
                     const SendOptions& options)
{
    auto result = link.config().check_send(kind, payload);
    if (result)
        result = link.send(kind, payload, options);
    if (!result)
        run.sends_refused.fetch_add(1, std::memory_order_relaxed);
    return result;
}

Result<void> link_send(const LinkRef& ref, MessageKind kind, std::span<const std::byte> payload,
                       Duration timeout)
{
    return link_send(ref, kind, payload, SendOptions{.timeout = timeout});
}

Result<void> link_send(const LinkRef& ref, MessageKind kind, std::span<const std::byte> payload,
                       const SendOptions& options)
{
    if (auto failure = refused(ref, "send"))
        return std::move(*failure);
    return send_on(*ref.run, *ref.link, kind, payload, options);
}

Result<void> link_flush(const LinkRef& ref, Duration timeout)
{
    if (auto failure = refused(ref, "flush"))
        return std::move(*failure);
    return ref.link->flush(deadline_of(*ref.run, timeout));
}

LinkId link_id(const LinkRef& ref) noexcept { return ref.link ? ref.link->id() : LinkId{}; }

bool link_is_up(const LinkRef& ref) noexcept { return is_here(ref) && ref.link->is_up(); }

std::string link_protocol(const LinkRef& ref)
{
    return ref.link ? ref.link->protocol() : std::string{};
}

Stats link_stats(const LinkRef& ref) { return is_here(ref) ? Links::stats_of(*ref.link) : Stats{}; }

std::uint32_t link_connection(const LinkRef& ref) noexcept
{
    return ref.link ? ref.link->connection() : 0;
}

namespace {

SubscriptionMessage subscription_message(MessageKind kind, std::span<const std::byte> payload,
                                         IsAnswer is_answer)
{
    const MessageView view{{}, kind, payload};
    return {kind, std::string{view.text()}, std::move(is_answer)};
}

} // namespace

Result<void> link_stick(const LinkRef& ref, std::string key, MessageKind kind,
                        std::span<const std::byte> payload, IsAnswer is_answer)
{
    if (auto failure = refused(ref, "add a sticky message"))
        return std::move(*failure);
    if (auto checked = ref.link->config().check_send(kind, payload); !checked)
        return checked;
    return ref.link->stick(std::move(key),
                           subscription_message(kind, payload, std::move(is_answer)));
}

Result<bool> link_unstick(const LinkRef& ref, std::string_view key, MessageKind kind,
                          std::span<const std::byte> payload, IsAnswer is_answer)
{
    if (auto failure = refused(ref, "take a sticky message back"))
        return std::move(*failure);
    if (auto checked = ref.link->config().check_send(kind, payload); !payload.empty() && !checked)
        return checked.error();
    return ref.link->unstick(key, subscription_message(kind, payload, std::move(is_answer)));
}

std::optional<StickyState> link_sticky_state(const LinkRef& ref, std::string_view key)
{
    if (!is_here(ref))
        return std::nullopt;
    return ref.link->subscriptions().state(key);
}

StickyCounts link_sticky_counts(const LinkRef& ref)
{
    if (!is_here(ref))
        return {};
    return ref.link->subscriptions().counts();
}

Result<void> link_close(const LinkRef& ref, Duration timeout)
{
    if (auto failure = refused(ref, "close"))
        return std::move(*failure);
    return ref.link->close(timeout);
}

} // namespace sidecar::detail
