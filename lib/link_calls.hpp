// The verbs of one link, as the application calls them.
#pragma once

#include "run.hpp"

#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/send_options.hpp>

#include <cstddef>
#include <span>

namespace sidecar::detail {

[[nodiscard]] TimePoint deadline_of(const Run& run, Duration timeout);
[[nodiscard]] Result<void> send_on(Run& run, LinkImpl& link, MessageKind kind,
                                   std::span<const std::byte> payload, const SendOptions& options);

} // namespace sidecar::detail
