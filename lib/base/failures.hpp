// Makes failures for several parts of the library: misuse, options, functions of the application.
#pragma once

#include <sidecar/error.hpp>

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace sidecar::detail {

/// Makes the failure of a call that would wait for the thread that makes it.
[[nodiscard]] inline Failure called_on_loop(std::string attempted, std::string endpoint)
{
    return {Error::misuse,
            {.attempted = std::move(attempted),
             .endpoint = std::move(endpoint),
             .explanation = "called on the loop's own thread, which it would wait for"}};
}

/// Makes the failure of a receiving call whose time is over.
[[nodiscard]] inline Failure nothing_came() noexcept
{
    return Failure{Error::timed_out}.with_retry(true);
}

/// Converts an exception of the application's `function` ("the retry_if function"), and names the
/// function in the explanation. A Failure in the exception is returned as it is. The rest is as in
/// to_failure().
[[nodiscard]] Failure thrown_by(std::string_view function, std::exception_ptr exception, Error code,
                                std::string_view attempted,
                                std::string_view endpoint = {}) noexcept;

/// Makes the failure of options that make no sense. The call adds its name and the endpoint.
[[nodiscard]] inline Failure bad_options(std::string why)
{
    return {Error::bad_options, {.explanation = std::move(why)}};
}

} // namespace sidecar::detail
