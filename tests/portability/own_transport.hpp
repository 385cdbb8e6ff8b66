// A feed over a descriptor that the program has, on a transport of its own.
#pragma once

#include <sidecar/feed.hpp>

#include <memory>

/// Takes over `fd`, a stream socket. Each read is a message.
[[nodiscard]] std::unique_ptr<sidecar::Feed> make_own_feed(int fd);
