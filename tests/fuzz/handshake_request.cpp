// Any request to a WebSocket server, cut in any way: the same decision, a text fit for a line, and
// an answer that no client could split in two. The first byte of an input chooses the options, the
// second how the rest is cut.
#include "require.hpp"

#include <server_handshake.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

using namespace sidecar;
using namespace sidecar::websocket;
using http::HeadReader;

namespace {

struct Outcome {
    std::size_t head_bytes = 0;
    std::string answer{}; ///< empty: the request is incomplete
    bool operator==(const Outcome&) const = default;
};

Outcome judge(std::string_view bytes, std::size_t segment_bytes, const ServerOptions& options)
{
    HeadReader reader{options.max_head_bytes, HeadReader::Kind::request};
    Outcome outcome;
    while (outcome.head_bytes < bytes.size() && reader.state() == HeadReader::State::incomplete) {
        const auto segment = bytes.substr(outcome.head_bytes, segment_bytes);
        outcome.head_bytes += reader.take(segment);
    }
    if (reader.state() == HeadReader::State::incomplete)
        return outcome;
    Decision decision;
    Request request;
    if (reader.state() == HeadReader::State::complete)
        decision = decide(reader.parse(), request, options, false);
    else
        outcome.head_bytes = 0; // what is taken before it is refused depends on the pieces
    if (reader.state() != HeadReader::State::complete)
        decision.answer = refuse_head(reader, options);
    const auto& why = decision.answer.why;
    require(why.size() < 1500, "a refusal is a short text");
    require(std::all_of(why.begin(), why.end(), [](char c) { return c >= 0x20 && c < 0x7f; }),
            "a refusal is fit for a line");
    if (decision.opening) {
        require(request.path.starts_with('/'), "a path");
        require(request.method == "GET", "the method of a WebSocket");
        require(decision.opening->subprotocol.empty()
                    || std::find(request.subprotocols.begin(), request.subprotocols.end(),
                                 decision.opening->subprotocol)
                           != request.subprotocols.end(),
                "the subprotocol was offered");
        RequestAnswer own;
        if (!request.subprotocols.empty())
            own.subprotocol = request.subprotocols.front();
        apply(own, request, decision);
    }
    outcome.answer = decision.opening ? bytes_of(*decision.opening)
                                      : bytes_of(decision.answer, std::chrono::sys_seconds{});
    // Our client's parser reads it as one head, and for 101 nothing behind it
    HeadReader answer{64u << 10};
    const auto taken = answer.take(outcome.answer);
    require(answer.state() == HeadReader::State::complete, "the answer is HTTP");
    const auto head = answer.parse();
    require(!head.fault, "the answer's fields can be read");
    const bool is_open = head.status == http::switching_protocols;
    require(is_open == decision.opening.has_value(), "101 opens a WebSocket");
    if (is_open)
        require(taken == outcome.answer.size(), "nothing is behind 101");
    else
        require(http::contains(head.elements("Connection"), "close"), "others end the connection");
    return outcome;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size < 2)
        return 0;
    ServerOptions options;
    options.max_head_bytes = (data[0] & 1) != 0 ? 16u << 10 : 300;
    if ((data[0] & 2) != 0)
        options.subprotocols = {"chat", "superchat"};
    if ((data[0] & 4) != 0)
        options.compression = CompressionOptions{.server_max_window_bits = 12};
    if ((data[0] & 8) != 0)
        options.pages = {{"/", {.bytes = "page"}}};
    if ((data[0] & 16) != 0)
        options.origins = {"https://example.com"};
    const std::string_view bytes{reinterpret_cast<const char*>(data) + 2, size - 2};
    const auto whole = judge(bytes, bytes.size() + 1, options);
    require(whole == judge(bytes, 1, options), "cut in octets");
    require(whole == judge(bytes, data[1] + 1u, options), "cut in segments");
    return 0;
}
