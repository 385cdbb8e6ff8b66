// to_prometheus: stats in the text format of Prometheus.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/stats.hpp>

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sidecar {

/// Names and values that distinguish sources: {{"feed", "prices"}}.
using Labels = std::vector<std::pair<std::string, std::string>>;

struct LabelledStats {
    Labels labels;
    Stats stats;
};

/// Writes text format 0.0.4 (content type "text/plain; version=0.0.4; charset=utf-8"): every
/// counter ends in `_total`, times are in seconds, sizes in bytes, and each name begins with
/// "sidecar_". Round trips and message ages are histograms, without samples until there is one.
/// Label values may be any text; bytes that are not UTF-8 become U+FFFD.
/// Side: any thread; pure. Errors (thrown): Exception (bad_options) for a label name that is
/// invalid (it may hold letters, digits and underscores, with no digit first, and not begin with
/// two underscores), occurs twice, or is one of ours ("le", "reason", "task").
[[nodiscard]] SIDECAR_API std::string to_prometheus(const Stats& stats, const Labels& labels = {});
/// Writes several sources into one exposition, in which each name may have only one HELP and TYPE.
[[nodiscard]] SIDECAR_API std::string to_prometheus(std::span<const LabelledStats> sources);

} // namespace sidecar
