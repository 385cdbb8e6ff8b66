// Names of enumerators, and of a stop's stages.
#pragma once

#include <sidecar/stop_report.hpp>

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>

namespace sidecar::detail {

/// Returns an enumerator's name; enumerators must count from zero.
template <class Enum, std::size_t count>
[[nodiscard]] constexpr std::string_view name_at(Enum value,
                                                 const std::string_view (&names)[count]) noexcept
{
    const auto at = static_cast<std::size_t>(value);
    return at < count ? names[at] : "unknown";
}

/// Returns the stages of a stop in their order.
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
