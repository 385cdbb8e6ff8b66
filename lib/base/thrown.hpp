// The failure of a function that is the application's.
#pragma once

#include <sidecar/error.hpp>

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace sidecar::detail {

/// What `function` ("the retry_if function") threw: a failure as it is, anything else by its name.
[[nodiscard]] inline Failure thrown_by(std::string_view function, std::exception_ptr exception,
                                       Error code, std::string_view attempted,
                                       std::string_view endpoint = {})
{
    FailureDetails details{.attempted = std::string{attempted}, .endpoint = std::string{endpoint}};
    try {
        std::rethrow_exception(exception);
    } catch (const Exception& thrown) {
        return thrown.failure();
    } catch (const boost::system::system_error& thrown) {
        if (thrown.code() == boost::asio::error::operation_aborted)
            code = Error::cancelled;
        details.cause = thrown.code();
        details.explanation = fmt::format("{} threw", function);
    } catch (const std::exception& thrown) {
        details.explanation = fmt::format("{} threw: {}", function, thrown.what());
    } catch (...) {
        details.explanation = fmt::format("{} threw", function);
    }
    return {code, std::move(details)};
}

} // namespace sidecar::detail
