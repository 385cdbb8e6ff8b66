// The answer to calls that cannot be made from where they are made.
#pragma once

#include <sidecar/error.hpp>

#include <string>
#include <utility>

namespace sidecar::detail {

/// Of a call that would wait for the very thread that makes it.
[[nodiscard]] inline Failure called_on_loop(std::string attempted, std::string endpoint)
{
    return {Error::misuse,
            {.attempted = std::move(attempted),
             .endpoint = std::move(endpoint),
             .explanation = "called on the loop's own thread, which it would wait for"}};
}

} // namespace sidecar::detail
