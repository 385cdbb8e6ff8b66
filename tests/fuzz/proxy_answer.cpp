// Any answer of a proxy to CONNECT, cut in any way: the same verdict, and a text fit for a line. The
// first byte of an input chooses how the rest is cut.
#include "answers.hpp"

#include <proxy.hpp>

#include <cstdint>
#include <string>

using namespace sidecar;

namespace {

Verdict hear(std::string_view answer, std::size_t segment_bytes)
{
    static const auto proxy = http::parse_proxy("http://user:s3cret@p:3128", "proxy.url").value();
    http::TunnelHandshake handshake{proxy, "feed.example", 443, "wss://feed.example/"};
    return hear_answer(answer, segment_bytes, handshake);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size < 1)
        return 0;
    const std::string_view answer{reinterpret_cast<const char*>(data) + 1, size - 1};
    const auto whole = hear(answer, answer.size() + 1);
    require_same(whole, hear(answer, 1));
    require_same(whole, hear(answer, data[0] + 1u));
    if (whole.failure) {
        require(*whole.failure == Error::connect_failed, "the code");
        require_printable(*whole.failure);
        require(whole.failure->message().find("s3cret") == std::string::npos, "no secret");
    }
    return 0;
}
