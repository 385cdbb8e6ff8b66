// FixedBlocks: a framing of messages that all have one length, known when the program runs.
#pragma once

#include <sidecar/transports/framing.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace sidecar_cat {

/// Like sidecar::FixedSize, whose length is known when the program is compiled.
struct FixedBlocks {
    std::size_t size = 1;

    [[nodiscard]] sidecar::Decoded decode(std::span<const std::byte> bytes, std::size_t) const
    {
        if (bytes.size() < size)
            return {.payload = bytes, .missing_bytes = size - bytes.size()};
        return {.is_complete = true, .payload = bytes.first(size), .consumed_bytes = size};
    }
    void encode(std::vector<std::byte>& out, std::span<const std::byte> payload) const
    {
        out.insert(out.end(), payload.begin(), payload.end());
    }
    [[nodiscard]] sidecar::Result<void> check_send(std::span<const std::byte> payload) const
    {
        if (payload.size() == size)
            return {};
        return sidecar::Failure{sidecar::Error::bad_message,
                                {.attempted = "send",
                                 .explanation = std::to_string(payload.size())
                                                + " bytes, each message has "
                                                + std::to_string(size)}};
    }
};

} // namespace sidecar_cat
