// A reconnect whose times a test knows.
#pragma once

#include <sidecar/reconnect.hpp>

#include <chrono>
#include <cstdint>

/// Waits one second before each attempt.
inline sidecar::Reconnect each_second(sidecar::Reconnect options = {})
{
    options.window = options.max_window = std::chrono::seconds{1};
    options.random = [] { return UINT64_MAX; };
    return options;
}
