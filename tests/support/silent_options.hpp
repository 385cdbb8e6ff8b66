// Options of a sidecar that does not talk into the test's output.
#pragma once

#include <sidecar/options.hpp>

#include <string_view>
#include <utility>

/// The same options; without a log hook of their own they get one that drops each line.
inline sidecar::Options silenced(sidecar::Options options)
{
    if (!options.log)
        options.log = [](sidecar::LogLevel, std::string_view) {};
    return options;
}

inline sidecar::Options silent_options(sidecar::StopBudget stop = {})
{
    return silenced({.stop = stop});
}
