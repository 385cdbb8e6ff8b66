#include "link_calls.hpp"

#include "base/fork_guard.hpp"

#include <sidecar/detail/core.hpp>

#include <algorithm>

namespace sidecar::detail {

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
    if (has_forked_since(ref.fork_generation))
        return Failure{Error::forked, {.attempted = "send"}};
    return send_on(*ref.run, *ref.link, kind, payload, {.timeout = timeout});
}

Result<void> link_send(const LinkRef& ref, MessageKind kind, std::span<const std::byte> payload,
                       const SendOptions& options)
{
    if (has_forked_since(ref.fork_generation))
        return Failure{Error::forked, {.attempted = "send"}};
    return send_on(*ref.run, *ref.link, kind, payload, options);
}

Result<void> link_flush(const LinkRef& ref, Duration timeout)
{
    if (has_forked_since(ref.fork_generation))
        return Failure{Error::forked, {.attempted = "flush"}};
    return ref.link->flush(deadline_of(*ref.run, timeout));
}

LinkId link_id(const LinkRef& ref) noexcept { return ref.link->id(); }

bool link_is_up(const LinkRef& ref) noexcept
{
    return !has_forked_since(ref.fork_generation) && ref.link->is_up();
}

std::string link_protocol(const LinkRef& ref) { return ref.link->protocol(); }

std::uint32_t link_connection(const LinkRef& ref) noexcept { return ref.link->connection(); }

Result<void> link_stick(const LinkRef&, std::string, MessageKind, std::span<const std::byte>,
                        IsAnswer)
{
    return Error::misuse; // TODO(core): to come
}

Result<bool> link_unstick(const LinkRef&, std::string_view, MessageKind, std::span<const std::byte>,
                          IsAnswer)
{
    return Error::misuse; // TODO(core): to come
}

std::optional<StickyState> link_sticky_state(const LinkRef&, std::string_view)
{
    return std::nullopt; // TODO(core): to come
}

StickyCounts link_sticky_counts(const LinkRef&) { return {}; } // TODO(core): to come

Result<void> link_close(const LinkRef&, Duration)
{
    return Error::misuse; // TODO(core): to come
}

} // namespace sidecar::detail
