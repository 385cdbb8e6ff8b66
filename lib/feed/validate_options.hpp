// Whether options make sense, before anything is made. Pure.
#pragma once

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/error.hpp>
#include <sidecar/options.hpp>

#include <cstddef>

namespace sidecar::detail {

/// Errors, all: bad_options, which names the option.
[[nodiscard]] Result<void> check_options(const Options& options);
[[nodiscard]] Result<void> check_inbox(const QueueLimits& limits, std::size_t max_message_bytes);
[[nodiscard]] Result<void> check_outbox(const QueueLimits& limits);
[[nodiscard]] Result<void> check_link(const LinkOptions& options);
/// Liveness and rate limit; also what the transport has against sending the heartbeat.
[[nodiscard]] Result<void> check_upkeep(const LinkOptions& options, const LinkConfig& config);

} // namespace sidecar::detail
