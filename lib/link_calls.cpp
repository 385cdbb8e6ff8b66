#include "link_calls.hpp"

#include "base/fork_guard.hpp"

#include <sidecar/detail/core.hpp>

#include <algorithm>

namespace sidecar::detail {
namespace {

Failure forked(const LinkRef& ref, const char* attempted)
{
    return {Error::forked, {.attempted = attempted, .endpoint = ref.link->config().endpoint()}};
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
    if (has_forked_since(ref.fork_generation))
        return forked(ref, "send");
    return send_on(*ref.run, *ref.link, kind, payload, options);
}

Result<void> link_flush(const LinkRef& ref, Duration timeout)
{
    if (has_forked_since(ref.fork_generation))
        return forked(ref, "flush");
    return ref.link->flush(deadline_of(*ref.run, timeout));
}

LinkId link_id(const LinkRef& ref) noexcept { return ref.link->id(); }

bool link_is_up(const LinkRef& ref) noexcept
{
    return !has_forked_since(ref.fork_generation) && ref.link->is_up();
}

std::string link_protocol(const LinkRef& ref) { return ref.link->protocol(); }

Stats link_stats(const LinkRef& ref)
{
    return has_forked_since(ref.fork_generation) ? Stats{} : Links::stats_of(*ref.link);
}

std::uint32_t link_connection(const LinkRef& ref) noexcept { return ref.link->connection(); }

namespace {

StickyMessage sticky_message(MessageKind kind, std::span<const std::byte> payload,
                             IsAnswer is_answer)
{
    const MessageView view{{}, kind, payload};
    return {kind, std::string{view.text()}, std::move(is_answer)};
}

} // namespace

Result<void> link_stick(const LinkRef& ref, std::string key, MessageKind kind,
                        std::span<const std::byte> payload, IsAnswer is_answer)
{
    if (has_forked_since(ref.fork_generation))
        return forked(ref, "add a sticky message");
    if (auto checked = ref.link->config().check_send(kind, payload); !checked)
        return checked;
    return ref.link->stick(std::move(key), sticky_message(kind, payload, std::move(is_answer)));
}

Result<bool> link_unstick(const LinkRef& ref, std::string_view key, MessageKind kind,
                          std::span<const std::byte> payload, IsAnswer is_answer)
{
    if (has_forked_since(ref.fork_generation))
        return forked(ref, "take a sticky message back");
    if (auto checked = ref.link->config().check_send(kind, payload); !payload.empty() && !checked)
        return checked.error();
    return ref.link->unstick(key, sticky_message(kind, payload, std::move(is_answer)));
}

std::optional<StickyState> link_sticky_state(const LinkRef& ref, std::string_view key)
{
    if (has_forked_since(ref.fork_generation))
        return std::nullopt;
    return ref.link->sticky().state(key);
}

StickyCounts link_sticky_counts(const LinkRef& ref)
{
    if (has_forked_since(ref.fork_generation))
        return {};
    return ref.link->sticky().counts();
}

Result<void> link_close(const LinkRef& ref, Duration timeout)
{
    if (has_forked_since(ref.fork_generation))
        return forked(ref, "close");
    return ref.link->close(timeout);
}

} // namespace sidecar::detail
