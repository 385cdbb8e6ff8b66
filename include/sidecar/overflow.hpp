// What a link does when what arrives finds no room.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <cstdint>
#include <functional>
#include <string_view>

namespace sidecar {

enum class OverflowPolicy : std::uint8_t {
    pause_reading, ///< nothing is lost: the peer is held up
    drop_oldest,
    drop_newest,
    conflate, ///< the latest message of each key stays
    fail,     ///< the link goes down
};

struct Overflow {
    OverflowPolicy policy = OverflowPolicy::pause_reading;
};

} // namespace sidecar
