// Options of a sidecar that does not talk into the test's output.
#pragma once

#include <sidecar/options.hpp>

#include <string_view>

inline sidecar::Options quiet(sidecar::StopBudget stop = {})
{
    return {.stop = stop, .log = [](sidecar::LogLevel, std::string_view) {}};
}
