// Any answer to an offer of compression: a fault or an agreement that keeps to the RFC. And any
// offer to a server with the same options: our client could have made its answer's agreement. The
// first byte of an input chooses the options.
#include "require.hpp"

#include <extensions.hpp>

#include <algorithm>
#include <cstdint>

using namespace sidecar;
using namespace sidecar::websocket;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size < 1)
        return 0;
    const CompressionOptions offered{.server_max_window_bits = (data[0] & 1) != 0 ? 15 : 10,
                                     .client_max_window_bits = (data[0] & 2) != 0 ? 15 : 9,
                                     .server_no_context_takeover = (data[0] & 4) != 0,
                                     .client_no_context_takeover = (data[0] & 8) != 0};
    const std::string_view answer{reinterpret_cast<const char*>(data) + 1, size - 1};
    if (const auto taken = accept(offered, answer); taken && *taken) {
        const auto& ours = (*taken)->deflation;
        require(ours.window_bits >= 8 && ours.window_bits <= offered.server_max_window_bits,
                "our window is within our options");
        require(!offered.server_no_context_takeover || !ours.keeps_context, "we forget");
        require(!offered.client_no_context_takeover || !ours.peer_keeps_context, "it forgets");
        const auto theirs = agree(CompressionOptions{}, (*taken)->answer);
        require(theirs && *theirs, "a client agrees to the answer");
        require((*theirs)->keeps_context == ours.peer_keeps_context
                    && (*theirs)->peer_keeps_context == ours.keeps_context,
                "both ends know who forgets");
    }
    const auto found = agree(offered, answer);
    if (!found) {
        const auto fault = found.error().explanation();
        require(fault.size() < 1000, "a fault is a short text");
        require(
            std::all_of(fault.begin(), fault.end(), [](char c) { return c >= 0x20 && c < 0x7f; }),
            "a fault is fit for a line");
        return 0;
    }
    if (!*found)
        return 0;
    const auto& deflation = **found;
    require(deflation.window_bits >= 8 && deflation.window_bits <= offered.client_max_window_bits,
            "our window is within what was offered");
    require(!offered.server_no_context_takeover || !deflation.peer_keeps_context,
            "the peer forgets if it was asked to");
    require(!offered.client_no_context_takeover || !deflation.keeps_context,
            "we forget if we said so");
    require(!agree(offered, std::string{answer} + ", permessage-deflate"), "never twice");
    return 0;
}
