// Failures that several rooms make: of misuse, of options, of the application's functions.
#pragma once

#include <sidecar/error.hpp>

#include <exception>
#include <string>
#include <string_view>
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

/// Of an exception of the application's `function` ("the retry_if function"), which the explanation names;
/// otherwise as to_failure().
[[nodiscard]] Failure thrown_by(std::string_view function, std::exception_ptr exception, Error code,
                                std::string_view attempted, std::string_view endpoint = {});

/// Of options that make no sense. The call adds its own name and the endpoint.
[[nodiscard]] inline Failure bad_options(std::string why)
{
    return {Error::bad_options, {.explanation = std::move(why)}};
}

} // namespace sidecar::detail
