// to_prometheus: stats in the form that Prometheus scrapes.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/stats.hpp>

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sidecar {

/// Names and values that tell one source from others: {{"feed", "prices"}}.
using Labels = std::vector<std::pair<std::string, std::string>>;

struct LabelledStats {
    Labels labels;
    Stats stats;
};

/// Text format 0.0.4 (content type "text/plain; version=0.0.4; charset=utf-8"): every counter ends
/// in `_total`, times are in seconds, sizes in bytes, and each name begins with "sidecar_". Round
/// trips and ages of messages are histograms, without samples until there is one. Side: any thread;
/// pure. Values may be any text; what is not UTF-8 in them becomes U+FFFD. Throws Exception
/// (bad_options) for a label's name that is none (letters, digits and underscores, no digit first, not beginning
/// with two underscores), stands twice, or is one of ours ("le", "reason", "task").
[[nodiscard]] SIDECAR_API std::string to_prometheus(const Stats& stats, const Labels& labels = {});
/// The same of several, in one exposition: a name may stand in it with one HELP and TYPE only.
[[nodiscard]] SIDECAR_API std::string to_prometheus(std::span<const LabelledStats> sources);

} // namespace sidecar
