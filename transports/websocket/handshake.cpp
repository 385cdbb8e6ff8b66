#include "handshake.hpp"

#include "authorization.hpp"
#include "options.hpp"
#include "uri.hpp"

#include <boost/beast/core/detail/sha1.hpp>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace sidecar::websocket {

using http::contains;
using http::HttpHead;

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
    detail::sha1_context sha1; // as the RFC demands; no secret depends on it
    std::string digest(sha1.digest_size, '\0');
    detail::init(sha1);
    for (const auto part : {key, std::string_view{"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"}})
        detail::update(sha1, part.data(), part.size());
    detail::finish(sha1, digest.data());
    return http::base64(digest);
}

namespace {

constexpr const char* wants_tls = "does the address want wss://?";

/// Whether a server says that its port is one for TLS: the words of nginx, Apache and Go.
bool says_https(const HttpHead& head, std::string_view body)
{
    constexpr unsigned bad_request = 400;
    const auto text = http::lower(body.substr(0, 4096));
    const auto has = [&](std::string_view words) { return text.find(words) != text.npos; };
    return head.status == bad_request
           && (has("http request was sent to https port") || has("plain http to an ssl-enabled")
               || has("http request to an https server"));
}

} // namespace

Handshake::Handshake(const Url& url, const WebSocket::Options& options, http::Secrets secrets,
                     const std::string& endpoint)
    : Handshake{url, options, std::move(secrets), endpoint, make_key()}
{
}

Handshake::Handshake(const Url& url, const WebSocket::Options& options, http::Secrets secrets,
                     const std::string& endpoint, const std::string& key)
    : Exchange{{.refused = Error::handshake_refused,
                .attempted = "shake hands",
                .endpoint = endpoint.empty() ? redact_url(options.url) : endpoint,
                .whose = "the",
                .max_head = fmt::format("max_head_bytes ({})", options.max_head_bytes),
                .hint = wants_tls,
                .hints_if_silent = !url.is_secure,
                .peer = "peer",
                .broken = "the connection {} {} the peer's answer"},
               build_request(url, options, key),
               std::move(secrets.add(secrets_of(options))),
               options.max_head_bytes},
      is_secure_{url.is_secure},
      accept_{accept_of(key)},
      subprotocols_{options.subprotocols},
      compression_{options.compression}
{
}

Failure Handshake::refuse(std::string why) const
{
    return refusal("the answer was HTTP 101, but " + std::move(why),
                   {.http_status = http::switching_protocols});
}

Result<void> Handshake::validate(const HttpHead& head, std::string_view body)
{
    if (head.status != http::switching_protocols) {
        const bool is_hint_due = !is_secure_ && says_https(head, body);
        return refusal(fmt::format("the answer was {}{}{}", http::describe(head, body, secrets()),
                                   is_hint_due ? "; " : "", is_hint_due ? wants_tls : ""),
                       http::details_of(head));
    }
    if (head.fault)
        return refusal("the fields of the answer cannot be read",
                       {.cause = head.fault, .http_status = http::switching_protocols});
    if (auto valid = validate_upgrade(head); !valid)
        return valid;
    return agree_on(head);
}

/// Makes the checks 2 to 4 and 6 of RFC 6455 section 4.1.
Result<void> Handshake::validate_upgrade(const HttpHead& head) const
{
    if (head.minor_version == 0)
        return refuse("of HTTP/1.0, which has no Upgrade");
    const auto protocols = head.elements("Upgrade");
    const auto is_websocket = [](auto one) { return http::equal_ignoring_case(one, "websocket"); };
    if (protocols.empty() || !std::all_of(protocols.begin(), protocols.end(), is_websocket))
        return refuse("its Upgrade field does not say websocket, and nothing else");
    if (!contains(head.elements("Connection"), "Upgrade"))
        return refuse("its Connection field does not say Upgrade");
    const auto accept = head.values("Sec-WebSocket-Accept");
    if (accept.size() != 1)
        return refuse(accept.empty() ? "it has no Sec-WebSocket-Accept"
                                     : "it has several Sec-WebSocket-Accept");
    if (accept.front() != accept_)
        return refuse("its Sec-WebSocket-Accept is not what belongs to our key");
    const auto chosen = head.values("Sec-WebSocket-Protocol");
    if (chosen.size() > 1)
        return refuse("it chose several subprotocols");
    for (const auto one : chosen)
        if (std::find(subprotocols_.begin(), subprotocols_.end(), one) == subprotocols_.end())
            return refuse("it chose a subprotocol that was not offered: "
                          + http::quote(one, secrets()));
    return {};
}

Result<void> Handshake::agree_on(const HttpHead& head)
{
    const auto answer =
        fmt::format("{}", fmt::join(head.elements("Sec-WebSocket-Extensions"), ", "));
    auto agreed = agree(compression_, answer);
    if (!agreed) {
        const auto shown = agree(compression_, secrets().redact(answer)); // before it is cut
        return refuse(secrets().redact((shown ? agreed : shown).error().explanation()));
    }
    subprotocol_ = head.first_value("Sec-WebSocket-Protocol");
    deflation_ = *agreed;
    headers_ = head.fields;
    return {};
}

} // namespace sidecar::websocket
