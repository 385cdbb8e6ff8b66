// The peer's answer to a ping of ours.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sidecar::websocket {

/// The latest that has come and that nobody has taken. Our pings have 8 bytes; of a pong with more
/// (which a peer may send unasked, RFC 6455 section 5.5.3) nothing is kept. Owned by a Receiver.
class Pong {
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
