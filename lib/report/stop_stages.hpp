// The stages of a stop's report, by name and in their order.
#pragma once

#include <sidecar/stop_report.hpp>

#include <array>
#include <string_view>
#include <utility>

namespace sidecar::detail {

/// For whoever prints or judges all of them. Side: any; pure.
[[nodiscard]] inline std::array<std::pair<std::string_view, StageReport>, 5> stages_of(
    const StopReport& report)
{
    return {{{"quiesce", report.quiesce},
             {"drain", report.drain},
             {"close", report.close},
             {"cancel", report.cancel},
             {"join", report.join}}};
}

} // namespace sidecar::detail
