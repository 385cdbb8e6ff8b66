// Resolves names without blocking the loop or a stop.
#pragma once

#include <sidecar/task.hpp>

#include <boost/asio/ip/address.hpp>

#include <string>
#include <vector>

namespace sidecar::detail {

class EventLoop;

/// Resolves a name on a helper thread that holds the loop's owner weakly; an address literal needs
/// no thread. Side: sidecar. Errors (thrown): bad_address, lookup_busy, lookup_failed,
/// no_resources. Cancellation: ends the wait; the helper thread continues alone, and its answer is
/// dropped.
[[nodiscard]] Task<std::vector<boost::asio::ip::address>> look_up(EventLoop& loop,
                                                                  std::string host);

} // namespace sidecar::detail
