// The peer's ping that is to be answered, and its answer to a ping of ours.
#pragma once

#include "frame.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sidecar::websocket {

/// The ping that is to be answered next: its owner answers each before it decodes on. Owned by a
/// Receiver. Invariant: a ping that was noted ahead of its turn is not noted again at its turn.
class PendingPing {
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

    std::array<std::byte, max_control_bytes> payload_; // sidecar side
    std::uint8_t payload_bytes_ = 0;                   // sidecar side
    bool is_waiting_ = false;                          // sidecar side
    std::size_t ahead_ = 0;                            // sidecar side; noted, not decoded yet
};

/// The latest pong that was not taken. Our pings have 8 bytes; it keeps nothing of a pong of another
/// size (which a peer may send unasked, RFC 6455 section 5.5.3). Owned by a Receiver.
class LastPong {
public:
    void note(std::span<const std::byte> payload) noexcept
    {
        if (payload.size() != payload_.size())
            return;
        std::copy(payload.begin(), payload.end(), payload_.begin());
        is_waiting_ = true;
    }
    /// One has come since the last take().
    [[nodiscard]] bool is_waiting() const noexcept { return is_waiting_; }
    /// Its payload. Lifetime: until the next one is noted.
    [[nodiscard]] std::span<const std::byte> take() noexcept
    {
        is_waiting_ = false;
        return payload_;
    }

private:
    std::array<std::byte, 8> payload_{}; // sidecar side
    bool is_waiting_ = false;            // sidecar side
};

} // namespace sidecar::websocket
