// Checks options before anything is made. Pure.
#pragma once

#include <sidecar/close_reason.hpp>
#include <sidecar/detail/any_transport.hpp>
#include <sidecar/error.hpp>
#include <sidecar/options.hpp>

namespace sidecar::detail {

/// Checks the options of the run, without its links. Errors: bad_options, which names the option
/// and no call.
[[nodiscard]] Result<void> validate_run(const Options& options);
/// Checks one link of this run. Errors: bad_options likewise; those of the transport's check() and
/// check_send().
[[nodiscard]] Result<void> validate_link(const LinkConfig& config, const LinkOptions& options,
                                         const Options& run);

/// Checks a listener and the options of its clients' links, likewise.
[[nodiscard]] Result<void> validate_listener(const LinkConfig& config, const LinkOptions& clients,
                                             const Options& run);

/// Checks that RFC 6455 allows to send this code and reason. Errors: bad_options likewise.
[[nodiscard]] Result<void> validate_close(const CloseReason& reason);

} // namespace sidecar::detail
