// Event: one entry of the ordered stream that next_event() gives.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace sidecar {

/// One entry of the whole ordered stream that next_event() gives.
struct Event {
    enum class Kind : std::uint8_t {
        up,      ///< the link is connected
        message, ///< `message` holds it
        down,    ///< the link is gone; `failure` says why
        stopped, ///< the last event of all
    };
    Kind kind = Kind::stopped;
    LinkId link{};
    Message message;
    std::optional<Failure> failure;

    /// For any stream, so that test frameworks can show a Result<Event>.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const Event& event)
    {
        constexpr const char* names[] = {"up", "message", "down", "stopped"};
        stream << names[static_cast<std::size_t>(event.kind)];
        return stream;
    }
};

} // namespace sidecar
