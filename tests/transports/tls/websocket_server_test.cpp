// A WebSocket server over TLS.
#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket_server.hpp>

#include "support/certificates.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <string>

namespace websocket_server_tls_test {

using namespace sidecar;
using namespace std::chrono_literals;

constexpr auto patience = 10s;

Options quiet()
{
    return {.log = [](LogLevel, std::string_view) {}};
}

WebSocket::Acceptor::Options options()
{
    return {.tls = TlsServerOptions{.certificates = {{.certificate_file = certificate("valid.pem"),
                                                      .key_file = certificate("valid.key")}},
                                    .client_certificates =
                                        TlsServerOptions::ClientCertificates::optional,
                                    .ca_file = certificate("ca.pem")}};
}

WebSocket::Options client_of(Server<WebSocket>& server)
{
    return {.url = fmt::format("wss://localhost:{}/feed", server.port()),
            .tls = {.ca_file = certificate("ca.pem")}};
}

Event next_up(Server<WebSocket>& server)
{
    for (;;) {
        auto event = server.next_event(patience);
        REQUIRE_MESSAGE(event, event.error().message());
        if (event->kind == Event::Kind::up && event->client)
            return *std::move(event);
    }
}

TEST_CASE("websocket server: over TLS, with the client's certificate in its facts")
{
    Server<WebSocket> server{options(), quiet()};
    REQUIRE(server.start(patience));
    for (const bool has_certificate : {false, true}) {
        CAPTURE(has_certificate);
        auto as = client_of(server);
        if (has_certificate) {
            as.tls.certificate_file = certificate("client.pem");
            as.tls.key_file = certificate("client.key");
        }
        Sidecar<WebSocket> client{as, quiet()};
        const auto started = client.start(patience);
        REQUIRE_MESSAGE(started, started.error().message());
        const auto up = next_up(server);
        REQUIRE(up.client->tls);
        CHECK(up.client->tls->version.starts_with("TLSv1."));
        CHECK(up.client->tls->is_verified == has_certificate);
        CHECK(up.client->tls->certificate.subject.empty() != has_certificate);
        CHECK(up.client->path == "/feed");
        const std::string large(300'000, 'x');
        CHECK(server.broadcast(large).value() == 1);
        CHECK((client.receive(patience).value().text() == large));
        REQUIRE(client.send("back"));
        CHECK(server.receive(patience).value().text() == "back");
        CHECK(client.stop().clean());
    }
}

TEST_CASE("websocket server: over TLS too many clients get 503, too many at once nothing")
{
    auto few = options();
    few.max_clients = 1;
    auto rare = options();
    rare.max_connections_per_second = 0.01;
    struct Case {
        WebSocket::Acceptor::Options limits;
        int status;
    };
    for (const auto& one : {Case{few, 503}, Case{rare, 0}}) {
        CAPTURE(one.status);
        Server<WebSocket> server{one.limits, quiet()};
        REQUIRE(server.start(patience));
        Sidecar<WebSocket> first{client_of(server), quiet()};
        REQUIRE(first.start(patience));
        Sidecar<WebSocket> second{client_of(server), quiet()};
        const auto refused = second.start(patience);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().http_status() == one.status);
        CHECK(server.client_count() == 1);
    }
    CHECK(WebSocket::Acceptor::endpoint(options()) == "wss://127.0.0.1:0");
    auto broken = options();
    broken.tls->certificates.front().key_file = certificate("client.key");
    CHECK(WebSocket::Acceptor::check(broken).error() == Error::bad_options);
}

} // namespace websocket_server_tls_test
