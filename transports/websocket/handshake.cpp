#include "handshake.hpp"

#include "accept_key.hpp"
#include "answer.hpp"
#include "request.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace sidecar::websocket {

using http::contains;
using http::first_value;
using http::HeadReader;
using http::HttpHead;

namespace {

constexpr unsigned switching_protocols = 101;

bool is_interim(unsigned status) { return status / 100 == 1 && status != switching_protocols; }

/// The name in "name; parameter=value".
std::string_view name_of_extension(std::string_view element)
{
    return element.substr(0, element.find_first_of("; \t"));
}

std::vector<std::string_view> names_of_extensions(const std::vector<std::string_view>& elements)
{
    std::vector<std::string_view> names;
    for (const auto element : elements)
        names.push_back(name_of_extension(element));
    return names;
}

} // namespace

Handshake::Handshake(const Url& url, const WebSocket::Options& options, std::string extensions)
    : endpoint_{masked(options.url)},
      key_{make_key()},
      subprotocols_{options.subprotocols},
      extensions_{std::move(extensions)},
      max_head_bytes_{options.max_head_bytes},
      request_{build_request(url, options, key_, extensions_)},
      reader_{options.max_head_bytes}
{
    for (const auto& value : query_values(url.resource))
        secrets_.add(value);
    for (const auto& [name, value] : options.headers)
        secrets_.add_field(value);
    if (const auto value = authorization(options); !value.empty())
        secrets_.add_field(value);
    if (options.basic_auth) {
        secrets_.add(options.basic_auth->user);
        secrets_.add(options.basic_auth->password);
    }
}

std::optional<Result<Handshake::Accepted>> Handshake::take(std::span<const std::byte> bytes)
{
    std::string_view rest{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    while (!rest.empty()) {
        rest.remove_prefix(reader_.take(rest));
        switch (reader_.state()) {
        case HeadReader::State::incomplete: return {};
        case HeadReader::State::not_http: return not_http(rest);
        case HeadReader::State::too_large: return too_large("the head of the answer is");
        case HeadReader::State::complete: break;
        }
        if (!is_interim(reader_.status_line().status)) {
            auto verdict = judge(rest);
            if (verdict)
                verdict->consumed_bytes = bytes.size() - rest.size();
            return verdict;
        }
        interim_bytes_ += reader_.received_bytes();
        if (interim_bytes_ > max_head_bytes_)
            return too_large("the interim answers (1xx) are");
        reader_.reset();
    }
    return {};
}

Failure Handshake::ended(error_code cause, std::string_view fate) const
{
    FailureDetails details{.attempted = "shake hands", .endpoint = endpoint_, .cause = cause};
    if (cause == boost::asio::error::operation_aborted)
        return {Error::cancelled, std::move(details)};
    const bool is_before = reader_.received_bytes() == 0 && interim_bytes_ == 0;
    const auto* const when = is_before ? "before" : "in the middle of";
    if (!cause || cause == boost::asio::error::eof) {
        details.cause = {};
        details.explanation = fmt::format("the peer closed the connection {} its answer", when);
    } else {
        details.explanation = fmt::format("the connection {} {} the peer's answer", fate, when);
    }
    if (const auto line = reader_.text().substr(0, reader_.text().find("\r\n")); !line.empty())
        details.explanation += fmt::format(", which began with {}", quote(line));
    return {Error::connect_failed, std::move(details)};
}

Failure Handshake::refusal(std::string why, FailureDetails details) const
{
    details.attempted = "shake hands";
    details.endpoint = endpoint_;
    details.explanation = std::move(why);
    return {Error::handshake_refused, std::move(details)};
}

/// The peer's words, without our secrets.
std::string Handshake::quote(std::string_view text) const { return http::quote(text, secrets_); }

Failure Handshake::not_http(std::string_view rest) const
{
    return refusal(
        "the answer is not HTTP/1.1, "
        + http::describe_not_http(reader_.text(), rest, secrets_, "does the address want wss://?"));
}

Failure Handshake::too_large(std::string_view what) const
{
    const auto head = reader_.status_line();
    return refusal(fmt::format("{} longer than max_head_bytes ({})", what, max_head_bytes_),
                   {.http_status = static_cast<std::uint16_t>(head.status)});
}

Failure Handshake::refused(const HttpHead& head, std::string_view body) const
{
    return refusal("the answer was " + http::describe(head, body, secrets_),
                   http::details_of(head));
}

Failure Handshake::refused_choice(std::string fault) const
{
    return refusal("the answer was HTTP 101, but " + secrets_.hide(std::move(fault)),
                   {.http_status = switching_protocols});
}

/// Of a whole head that is no interim answer; `rest` came behind it.
Result<Handshake::Accepted> Handshake::judge(std::string_view rest) const
{
    const auto parsed = reader_.parse();
    if (!parsed && reader_.status_line().status == switching_protocols)
        return refusal("the fields of the answer cannot be read",
                       {.cause = parsed.error().cause(), .http_status = switching_protocols});
    const auto head = parsed ? *parsed : reader_.status_line();
    if (head.status != switching_protocols)
        return refused(head, rest);
    if (auto fault = find_fault(head); !fault.empty())
        return refused_choice(std::move(fault));
    Accepted accepted;
    accepted.subprotocol = first_value(head, "Sec-WebSocket-Protocol");
    accepted.extensions =
        fmt::format("{}", fmt::join(head.elements("Sec-WebSocket-Extensions"), ", "));
    return accepted;
}

/// RFC 6455 section 4.1, checks 2 to 4. Empty: none.
std::string Handshake::find_fault(const HttpHead& head) const
{
    if (head.minor_version == 0)
        return "of HTTP/1.0, which has no Upgrade";
    if (!contains(head.elements("Upgrade"), "websocket"))
        return "its Upgrade field does not say websocket";
    if (!contains(head.elements("Connection"), "Upgrade"))
        return "its Connection field does not say Upgrade";
    const auto accept = head.values("Sec-WebSocket-Accept");
    if (accept.size() != 1)
        return accept.empty() ? "it has no Sec-WebSocket-Accept"
                              : "it has several Sec-WebSocket-Accept";
    if (accept.front() != accept_of(key_))
        return "its Sec-WebSocket-Accept is not what belongs to our key";
    return find_fault_in_choice(head);
}

/// RFC 6455 section 4.1, checks 5 and 6. Empty: none.
std::string Handshake::find_fault_in_choice(const HttpHead& head) const
{
    HttpHead ours;
    ours.fields.emplace_back("offered", extensions_);
    const auto offered = names_of_extensions(ours.elements("offered"));
    for (const auto name : names_of_extensions(head.elements("Sec-WebSocket-Extensions")))
        if (!contains(offered, name))
            return fmt::format("it chose an extension that was not offered: {}", quote(name));
    const auto chosen = head.values("Sec-WebSocket-Protocol");
    if (chosen.size() > 1)
        return "it chose several subprotocols";
    if (chosen.size() == 1
        && std::find(subprotocols_.begin(), subprotocols_.end(), chosen.front())
               == subprotocols_.end())
        return fmt::format("it chose a subprotocol that was not offered: {}",
                           quote(chosen.front()));
    return {};
}

} // namespace sidecar::websocket
