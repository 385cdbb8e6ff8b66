// Name resolution that can be walked away from.
#pragma once

#include <sidecar/task.hpp>

#include <boost/asio/ip/address.hpp>

#include <string>
#include <vector>

namespace sidecar::detail {

class EventLoop;

/// Resolves a name on a helper thread that holds the loop weakly. Side: sidecar.
[[nodiscard]] Task<std::vector<boost::asio::ip::address>> look_up(EventLoop& loop,
                                                                  std::string host);

} // namespace sidecar::detail
