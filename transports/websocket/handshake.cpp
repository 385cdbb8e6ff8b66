#include "handshake.hpp"

#include "authorization.hpp"
#include "options.hpp"

#include <boost/asio/error.hpp>
#include <boost/endian/conversion.hpp>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace sidecar::websocket {

using http::contains;
using http::HeadReader;
using http::HttpHead;

namespace {

using Words = std::array<std::uint32_t, 5>;

/// One block of 64 bytes, FIPS 180-4 section 6.1.2.
void add_block(Words& hash, const unsigned char* block)
{
    std::array<std::uint32_t, 80> w{};
    for (std::size_t i = 0; i < 16; ++i)
        w[i] = boost::endian::load_big_u32(block + 4 * i);
    for (std::size_t i = 16; i < 80; ++i)
        w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    auto [a, b, c, d, e] = hash;
    for (std::size_t i = 0; i < 80; ++i) {
        const auto f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999u
                       : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1u
                       : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu
                                : (b ^ c ^ d) + 0xca62c1d6u;
        const auto next = std::rotl(a, 5) + f + e + w[i];
        e = d;
        d = c;
        c = std::rotl(b, 30);
        b = a;
        a = next;
    }
    const Words sum{a, b, c, d, e};
    for (std::size_t i = 0; i < hash.size(); ++i)
        hash[i] += sum[i];
}

/// SHA-1 is what the RFC demands; nothing secret depends on it.
std::string sha1(std::string text)
{
    const std::uint64_t bits = text.size() * 8;
    text += '\x80';
    text.resize((text.size() + 8 + 63) / 64 * 64);
    boost::endian::store_big_u64(reinterpret_cast<unsigned char*>(text.data() + text.size() - 8),
                                 bits);
    Words hash{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    for (std::size_t at = 0; at < text.size(); at += 64)
        add_block(hash, reinterpret_cast<const unsigned char*>(text.data() + at));
    std::string digest(20, '\0');
    for (std::size_t i = 0; i < hash.size(); ++i)
        boost::endian::store_big_u32(reinterpret_cast<unsigned char*>(digest.data() + 4 * i),
                                     hash[i]);
    return digest;
}

/// The names in a list of "name; parameter=value".
std::vector<std::string_view> names_of_extensions(std::vector<std::string_view> elements)
{
    for (auto& element : elements)
        element = element.substr(0, element.find_first_of("; \t"));
    return elements;
}

/// A rule of section 4.1 that an answer breaks, as in "HTTP 101, but ...".
Failure fault(std::string text) { return http::refuse(Error::handshake_refused, std::move(text)); }

} // namespace

std::string make_key()
{
    std::string bytes(16, '\0');
    if (::getentropy(bytes.data(), bytes.size()) != 0)
        throw std::system_error{errno, std::generic_category(), "getentropy"};
    return http::base64(bytes);
}

std::string accept_of(std::string_view key)
{
    return http::base64(sha1(std::string{key} + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

Handshake::Handshake(const Url& url, const WebSocket::Options& options, std::string extensions,
                     http::Secrets secrets, std::string endpoint)
    : secrets_{std::move(secrets)},
      endpoint_{endpoint.empty() ? redact_url(options.url) : std::move(endpoint)},
      key_{make_key()},
      subprotocols_{options.subprotocols},
      extensions_{std::move(extensions)},
      max_head_bytes_{options.max_head_bytes},
      request_{build_request(url, options, key_, extensions_)},
      reader_{options.max_head_bytes}
{
    secrets_.add(secrets_of(options));
}

std::optional<Result<Handshake::Accepted>> Handshake::take(std::span<const std::byte> bytes)
{
    std::string_view rest{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    rest.remove_prefix(reader_.take(rest));
    switch (reader_.state()) {
    case HeadReader::State::incomplete: return {};
    case HeadReader::State::not_http:
        return refusal("the answer is not HTTP/1.1, "
                       + http::describe_not_http(reader_.text(), rest, secrets_,
                                                 "does the address want wss://?"));
    case HeadReader::State::too_large: return too_large("the head of the answer is");
    case HeadReader::State::interim_too_large: return too_large("the interim answers (1xx) are");
    case HeadReader::State::complete: break;
    }
    auto verdict = judge(rest);
    if (verdict)
        verdict->consumed_bytes = bytes.size() - rest.size();
    return verdict;
}

Failure Handshake::ended(error_code cause, std::string_view fate) const
{
    FailureDetails details{.attempted = "shake hands", .endpoint = endpoint_, .cause = cause};
    if (cause == boost::asio::error::operation_aborted)
        return {Error::cancelled, std::move(details)};
    if (!cause || cause == boost::asio::error::eof) {
        details.cause = {};
        details.explanation =
            fmt::format("the peer closed the connection {} its answer", reader_.where());
    } else {
        details.explanation =
            fmt::format("the connection {} {} the peer's answer", fate, reader_.where());
    }
    details.explanation += reader_.describe_begun(secrets_);
    return {Error::connect_failed, std::move(details)};
}

Failure Handshake::refusal(std::string why, FailureDetails details) const
{
    details.attempted = "shake hands";
    details.endpoint = endpoint_;
    details.explanation = std::move(why);
    return {Error::handshake_refused, std::move(details)};
}

Failure Handshake::too_large(std::string_view what) const
{
    return refusal(fmt::format("{} longer than max_head_bytes ({})", what, max_head_bytes_),
                   {.http_status = static_cast<std::uint16_t>(reader_.status_line().status)});
}

Failure Handshake::refused_choice(std::string why) const
{
    return refusal("the answer was HTTP 101, but " + secrets_.redact(std::move(why)),
                   {.http_status = http::switching_protocols});
}

/// Of a whole head; `rest` came behind it.
Result<Handshake::Accepted> Handshake::judge(std::string_view rest) const
{
    const auto parsed = reader_.parse();
    const auto head = parsed ? *parsed : reader_.status_line();
    if (head.status != http::switching_protocols)
        return refusal("the answer was " + http::describe(head, rest, secrets_),
                       http::details_of(head));
    if (!parsed)
        return refusal("the fields of the answer cannot be read",
                       {.cause = parsed.error().cause(), .http_status = http::switching_protocols});
    if (auto valid = validate(head); !valid)
        return refused_choice(valid.error().explanation());
    return Accepted{.subprotocol = std::string{head.first_value("Sec-WebSocket-Protocol")},
                    .extensions = fmt::format(
                        "{}", fmt::join(head.elements("Sec-WebSocket-Extensions"), ", "))};
}

/// RFC 6455 section 4.1, checks 2 to 4.
Result<void> Handshake::validate(const HttpHead& head) const
{
    if (head.minor_version == 0)
        return fault("of HTTP/1.0, which has no Upgrade");
    if (!contains(head.elements("Upgrade"), "websocket"))
        return fault("its Upgrade field does not say websocket");
    if (!contains(head.elements("Connection"), "Upgrade"))
        return fault("its Connection field does not say Upgrade");
    const auto accept = head.values("Sec-WebSocket-Accept");
    if (accept.size() != 1)
        return fault(accept.empty() ? "it has no Sec-WebSocket-Accept"
                                    : "it has several Sec-WebSocket-Accept");
    if (accept.front() != accept_of(key_))
        return fault("its Sec-WebSocket-Accept is not what belongs to our key");
    return validate_choice(head);
}

/// RFC 6455 section 4.1, checks 5 and 6.
Result<void> Handshake::validate_choice(const HttpHead& head) const
{
    HttpHead ours;
    ours.fields.emplace_back("offered", extensions_);
    const auto offered = names_of_extensions(ours.elements("offered"));
    for (const auto name : names_of_extensions(head.elements("Sec-WebSocket-Extensions")))
        if (!contains(offered, name))
            return fault("it chose an extension that was not offered: "
                         + http::quote(name, secrets_));
    const auto chosen = head.values("Sec-WebSocket-Protocol");
    if (chosen.size() > 1)
        return fault("it chose several subprotocols");
    for (const auto one : chosen)
        if (std::find(subprotocols_.begin(), subprotocols_.end(), one) == subprotocols_.end())
            return fault("it chose a subprotocol that was not offered: "
                         + http::quote(one, secrets_));
    return {};
}

} // namespace sidecar::websocket
