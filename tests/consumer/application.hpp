// An application that is given its feed, and does not know over what it speaks.
#pragma once

#include <sidecar/feed.hpp>

#include <string>
#include <vector>

/// Subscribes, and gives what comes until there were `count` messages or the feed has ended.
std::vector<std::string> collect(sidecar::Feed& feed, std::size_t count);
