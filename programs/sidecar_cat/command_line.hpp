// The command line: arguments in, settings out, or a text to print and an exit status.
#pragma once

#include "settings.hpp"
#include "values.hpp"

#include <string>
#include <variant>
#include <vector>

namespace sidecar_cat {

/// What the program ends with at once: help, version, or a mistake of usage.
struct EarlyExit {
    int status = 0;
    std::string text{}; ///< ends with a line end; for stdout if the status is 0, else for stderr
};

/// `arguments` without the program's name. Pure: files and environment come through `sources`.
[[nodiscard]] std::variant<Settings, EarlyExit> parse_command_line(
    const std::vector<std::string>& arguments, const SecretSources& sources);

} // namespace sidecar_cat
