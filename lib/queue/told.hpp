// What the application is told of what stands beside the ring.
#pragma once

#include "queue/side_entry.hpp"

#include <sidecar/error.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>

#include <optional>

namespace sidecar::detail {

/// Takes the payload out of the entry if it is large.
[[nodiscard]] Message message_of(SideEntry& entry);
/// What next_event() gives. Takes what it gives out of the entry.
[[nodiscard]] Event event_of(SideEntry& entry);
/// What receive() and poll() say where an entry ends them; empty: it does not.
[[nodiscard]] std::optional<Failure> failure_of(SideEntry& entry);

} // namespace sidecar::detail
