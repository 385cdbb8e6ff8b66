#include "tunnel_handshake.hpp"

#include "authorization.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <utility>

namespace sidecar::http {
namespace {

constexpr unsigned authorization_required = 407;

/// The authority-form, RFC 9112 section 3.2.3. A zone means nothing to another machine.
std::string authority(std::string_view host, std::uint16_t port)
{
    const auto address = host.substr(0, host.find('%'));
    return host.find(':') == host.npos ? fmt::format("{}:{}", host, port)
                                       : fmt::format("[{}]:{}", address, port);
}

} // namespace

TunnelHandshake::TunnelHandshake(const Proxy& proxy, std::string_view host, std::uint16_t port,
                                 std::string endpoint)
    : shown_proxy_{proxy.shown}, endpoint_{std::move(endpoint)}
{
    const auto to = authority(host, port);
    request_ = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nUser-Agent: sidecar\r\n", to);
    if (proxy.has_user) {
        const auto value = basic_authorization(proxy.user, proxy.password);
        request_ += fmt::format("Proxy-Authorization: {}\r\n", value);
        secrets_.add_field(value);
        secrets_.add(proxy.user);
        secrets_.add(proxy.password);
    }
    request_ += "\r\n";
}

std::optional<Result<std::size_t>> TunnelHandshake::take(std::span<const std::byte> bytes)
{
    std::string_view rest{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    rest.remove_prefix(reader_.take(rest));
    const auto status = reader_.status_line().status;
    switch (reader_.state()) {
    case HeadReader::State::incomplete: return {};
    case HeadReader::State::not_http:
        return failure("its answer is not HTTP/1.1, "
                       + describe_not_http(reader_.text(), rest, secrets_,
                                           "does the proxy's URL want https://?"));
    case HeadReader::State::too_large:
        return failure(
            fmt::format("the head of its answer is longer than {} bytes", max_head_bytes),
            {.http_status = static_cast<std::uint16_t>(status)});
    case HeadReader::State::interim_too_large:
        return failure(
            fmt::format("its interim answers (1xx) are longer than {} bytes", max_head_bytes));
    case HeadReader::State::complete: break;
    }
    // Whatever its fields say of a body: behind a 2xx there is none
    if (status / 100 == 2)
        return bytes.size() - rest.size();
    return refused(rest);
}

Failure TunnelHandshake::ended(error_code cause) const
{
    if (cause == boost::asio::error::operation_aborted)
        return with_context({Error::cancelled, {.cause = cause}}, attempted(), endpoint_);
    const bool is_in_order = !cause || cause == boost::asio::error::eof;
    return failure(
        fmt::format("the {} {} its answer{}",
                    is_in_order ? "proxy closed the connection" : "connection to the proxy broke",
                    reader_.where(), reader_.describe_begun(secrets_)),
        {.cause = is_in_order ? error_code{} : cause});
}

std::string TunnelHandshake::attempted() const
{
    return fmt::format("connect through the proxy {}", shown_proxy_);
}

Failure TunnelHandshake::failure(std::string why, FailureDetails details) const
{
    details.attempted = attempted();
    details.endpoint = endpoint_;
    details.explanation = std::move(why);
    return {Error::connect_failed, std::move(details)};
}

Failure TunnelHandshake::refused(std::string_view body) const
{
    const auto parsed = reader_.parse();
    const auto head = parsed ? *parsed : reader_.status_line();
    const auto what = describe(head, body, secrets_);
    const auto why = head.status == authorization_required ? "the proxy wants authorization: "
                                                           : "the proxy refused: ";
    return failure(why + what, details_of(head));
}

} // namespace sidecar::http
