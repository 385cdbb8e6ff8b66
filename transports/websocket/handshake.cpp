#include "handshake.hpp"

#include "authorization.hpp"
#include "options.hpp"

#include <boost/asio/error.hpp>
#include <boost/beast/core/detail/sha1.hpp>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace sidecar::websocket {

using http::contains;
using http::HeadReader;
using http::HttpHead;

namespace {

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
    namespace detail = boost::beast::detail;
    detail::sha1_context sha1; // as the RFC demands; nothing secret depends on it
    std::string digest(sha1.digest_size, '\0');
    detail::init(sha1);
    for (const auto part : {key, std::string_view{"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"}})
        detail::update(sha1, part.data(), part.size());
    detail::finish(sha1, digest.data());
    return http::base64(digest);
}

Handshake::Handshake(const Url& url, const WebSocket::Options& options, http::Secrets secrets,
                     std::string endpoint)
    : secrets_{std::move(secrets)},
      endpoint_{endpoint.empty() ? redact_url(options.url) : std::move(endpoint)},
      key_{make_key()},
      subprotocols_{options.subprotocols},
      compression_{options.compression},
      max_head_bytes_{options.max_head_bytes},
      request_{build_request(url, options, key_)},
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

Failure Handshake::refused(const Failure& why) const
{
    return refusal("the answer was HTTP 101, but " + secrets_.redact(why.explanation()),
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
        return refused(valid.error());
    const auto answer =
        fmt::format("{}", fmt::join(head.elements("Sec-WebSocket-Extensions"), ", "));
    const auto deflation = agree(compression_, answer);
    if (!deflation) {
        const auto shown = agree(compression_, secrets_.redact(answer)); // before it is cut
        return refused(shown ? deflation.error() : shown.error());
    }
    return Accepted{.subprotocol = std::string{head.first_value("Sec-WebSocket-Protocol")},
                    .deflation = *deflation};
}

/// RFC 6455 section 4.1, checks 2 to 4 and 6.
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
