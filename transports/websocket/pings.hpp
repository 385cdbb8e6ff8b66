// The pings of a peer that are not answered yet.
#pragma once

#include "frame.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sidecar::websocket {

/// Of several only the latest counts, RFC 6455 section 5.5.3. Owned by a Receiver. Invariant: a ping
/// that was noted ahead of its turn is not noted again when its turn comes.
class Pings {
public:
    /// At its turn.
    void note(std::span<const std::byte> payload) noexcept
    {
        if (ahead_ == 0)
            keep(payload);
        else
            --ahead_;
    }
    /// Before what comes in front of it was decoded.
    void note_ahead(std::span<const std::byte> payload) noexcept
    {
        keep(payload);
        ++ahead_;
    }
    /// One has come since the last take().
    [[nodiscard]] bool is_waiting() const noexcept { return is_waiting_; }
    /// Its payload. Lifetime: until the next one is noted.
    [[nodiscard]] std::span<const std::byte> take() noexcept
    {
        is_waiting_ = false;
        return std::span{payload_}.first(payload_bytes_);
    }

private:
    void keep(std::span<const std::byte> payload) noexcept
    {
        std::copy(payload.begin(), payload.end(), payload_.begin());
        payload_bytes_ = static_cast<std::uint8_t>(payload.size());
        is_waiting_ = true;
    }

    std::array<std::byte, most_control_bytes> payload_; // sidecar side
    std::uint8_t payload_bytes_ = 0;                    // sidecar side
    bool is_waiting_ = false;                           // sidecar side
    std::size_t ahead_ = 0;                             // sidecar side; noted, not decoded yet
};

} // namespace sidecar::websocket
