#include "queue/told.hpp"

#include <fmt/format.h>

#include <utility>

namespace sidecar::detail {
namespace {

/// A larger one is not copied.
constexpr std::size_t largest_copied_from_side = 4u << 10;

Event to_event(LinkEvent from)
{
    return {.kind = from.kind,
            .link = from.link,
            .failure = std::move(from.failure),
            .connection = from.connection,
            .at = from.at,
            .wall_time = from.wall_time,
            .next_attempt = from.next_attempt,
            .continuity = from.continuity,
            .protocol = std::move(from.protocol),
            .missing = from.missing,
            .gap_reason = from.gap_reason,
            .data_age = from.data_age};
}

} // namespace

Message message_of(SideEntry& entry)
{
    if (entry.size <= largest_copied_from_side)
        return Message{entry.view(), entry.at};
    return {entry.link, entry.kind,       std::move(entry.payload),
            entry.size, entry.connection, entry.at};
}

Event event_of(SideEntry& entry)
{
    if (entry.what == SideEntry::What::event)
        return to_event(std::move(*entry.event));
    Event event;
    event.link = entry.link;
    event.connection = entry.connection;
    event.at = entry.at;
    event.missing = entry.missing;
    if (entry.what == SideEntry::What::message) {
        event.kind = Event::Kind::message;
        event.message = message_of(entry);
        return event;
    }
    event.kind = Event::Kind::gap;
    event.gap_reason = entry.reason;
    return event;
}

std::optional<Failure> failure_of(SideEntry& entry)
{
    if (entry.what == SideEntry::What::message)
        return std::nullopt;
    auto event = event_of(entry);
    const bool is_last = event.kind == Event::Kind::retry && !event.next_attempt;
    if (event.kind != Event::Kind::down && event.kind != Event::Kind::gap && !is_last)
        return std::nullopt;
    if (event.failure == Error::link_closed)
        return std::nullopt; // who closed it knows
    if (event.failure)
        return std::move(*event.failure);
    return Failure{
        Error::gap,
        {.attempted = "receive",
         .endpoint = fmt::format("link {}", static_cast<std::uint32_t>(event.link)),
         .explanation = fmt::format("{}, {}", event.missing, to_string(event.gap_reason))}};
}

} // namespace sidecar::detail
