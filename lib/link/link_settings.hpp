// What a link is made from.
#pragma once

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>

#include <memory>
#include <string>

namespace sidecar::detail {

/// Never changes while the link lives. Side: any.
struct LinkSettings {
    LinkId id{};
    std::shared_ptr<const LinkConfig> config;
    std::string endpoint; ///< what errors call the other side
    std::shared_ptr<const LinkOptions> options;
};

} // namespace sidecar::detail
