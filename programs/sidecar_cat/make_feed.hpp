// The feed that the settings ask for.
#pragma once

#include "settings.hpp"

#include <sidecar/feed.hpp>

#include <memory>
#include <string>

namespace sidecar_cat {

struct MadeFeed {
    std::unique_ptr<sidecar::Feed> feed;
    std::string endpoint; ///< whom it will connect to; without secrets
};

/// Makes the feed; connects nothing. Warnings and errors of the library go to `log`.
[[nodiscard]] MadeFeed make_feed(const ConnectionSettings& settings, sidecar::LogHook log);

} // namespace sidecar_cat
