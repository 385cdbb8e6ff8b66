// Any answer to a WebSocket's handshake, cut in any way: the same verdict, and a text fit for a line.
// The first byte of an input chooses what is offered, the second how the rest is cut; "$ACCEPT" in it
// stands for what belongs to the key.
#include "answers.hpp"

#include <handshake.hpp>

#include <cstdint>
#include <string>

using namespace sidecar;
using websocket::Handshake;

namespace {

Verdict hear(std::string answer, std::size_t segment_bytes, const WebSocket::Options& options)
{
    Handshake handshake{websocket::parse_url(options.url).value(), options};
    const auto key_at = handshake.request().find("Sec-WebSocket-Key: ") + 19;
    const auto accept = websocket::accept_of(handshake.request().substr(key_at, 24));
    if (const auto at = answer.find("$ACCEPT"); at != answer.npos)
        answer.replace(at, 7, accept);
    return hear_answer(answer, segment_bytes, handshake);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size < 2)
        return 0;
    WebSocket::Options options{.url = "ws://h/?token=s3cret"};
    options.compression = CompressionOptions{};
    options.max_head_bytes = (data[0] & 1) != 0 ? 64u << 10 : 300;
    if ((data[0] & 2) != 0)
        options.subprotocols = {"chat", "superchat"};
    if ((data[0] & 4) != 0)
        options.basic_auth = BasicAuth{"someuser", "s3cret"};
    const std::string answer{reinterpret_cast<const char*>(data) + 2, size - 2};
    const auto whole = hear(answer, answer.size() + 1, options);
    require_same(whole, hear(answer, 1, options));
    require_same(whole, hear(answer, data[1] + 1u, options));
    if (whole.failure) {
        require_printable(*whole.failure);
        require(whole.failure->message().find("s3cret") == std::string::npos, "no secret");
    }
    return 0;
}
