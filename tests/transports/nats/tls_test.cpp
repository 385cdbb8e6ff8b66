// TLS with real servers, upgraded after INFO; and first, with a scripted one, since nats-server has
// that from 2.10 on only.
#include "nats_feed.hpp"
#include "support/tls_peer.hpp"

namespace nats_tls_test {

using namespace nats_tests;

std::string with_tls(const std::string& name, const std::string& more = {})
{
    return "tls { cert_file: \"" + certificate(name + ".pem") + "\", key_file: \""
           + certificate(name + ".key") + "\"" + more + " }";
}

TlsOptions trusting() { return {.ca_file = certificate("ca.pem")}; }

std::string url_by_name(const NatsServer& server, const std::string& scheme = "nats")
{
    return scheme + "://localhost:" + std::to_string(server.port());
}

/// Fails as `Error::tls_failed`, for good; returns the text.
std::string refusal_of(Nats::Options options)
{
    NatsFeed feed{std::move(options),
                  silenced({.reconnect = Reconnect{.window = 10ms, .at_start = true}})};
    const auto started = feed.start(20s);
    REQUIRE_FALSE(started.has_value());
    CHECK(started.error() == Error::tls_failed);
    CHECK(feed.stats().failed_attempts == 1);
    return started.error().message();
}

TEST_CASE("NATS over TLS: a server that demands it gets it, whatever the URL's scheme")
{
    const NatsServer server{with_tls("valid")};
    for (const char* scheme : {"nats", "tls"}) {
        NatsFeed feed{{.url = url_by_name(server, scheme), .tls = trusting()}, silent_options()};
        const auto started = feed.start(20s);
        REQUIRE_MESSAGE(started.has_value(), started.error().message());
        const auto info = feed.link().value().connection_info();
        REQUIRE(info.tls.has_value());
        CHECK(info.tls->is_verified);
        CHECK(info.tls->certificate.subject == "valid");
        wait_for_echo(feed);
        const auto report = feed.stop();
        CHECK(report.joined);
    }
}

TEST_CASE(
    "NATS over TLS: a certificate that is wrong ends the attempts, before any secret goes out")
{
    struct Row {
        const char* certificate;
        const char* why;
    };
    const Row rows[] = {
        {"unknown", "unknown issuer"},
        {"expired", "expired"},
        {"wrong", "localhost"},
    };
    for (const auto& row : rows) {
        const NatsServer server{with_tls(row.certificate)
                                + "\nauthorization { token: \"t0ken-of-mine\" }"};
        const auto text =
            refusal_of({.url = url_by_name(server), .token = "t0ken-of-mine", .tls = trusting()});
        CHECK_MESSAGE(text.find(row.why) != text.npos, text);
        CHECK(text.find("t0ken") == text.npos);
    }
}

TEST_CASE("NATS over TLS: a client certificate, where the server demands one")
{
    const NatsServer server{
        with_tls("valid", ", ca_file: \"" + certificate("ca.pem") + "\", verify: true")};
    auto tls = trusting();
    CHECK(refusal_of({.url = url_by_name(server), .tls = tls}).find("certificate")
          != std::string::npos);
    tls.certificate_file = certificate("client.pem");
    tls.key_file = certificate("client.key");
    NatsFeed feed{{.url = url_by_name(server), .tls = tls}, silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_MESSAGE(started.has_value(), started.error().message());
    wait_for_echo(feed);
}

TEST_CASE("NATS over TLS: a client certificate may be the login")
{
    const auto config = [](const std::string& user) {
        return with_tls("valid",
                        ", ca_file: \"" + certificate("ca.pem") + "\", verify_and_map: true")
               + "\nauthorization { users: [ { user: \"" + user + "\" } ] }";
    };
    auto tls = trusting();
    tls.certificate_file = certificate("client.pem");
    tls.key_file = certificate("client.key");
    NatsServer server{config("CN=client")};
    NatsFeed feed{{.url = url_by_name(server), .tls = tls}, silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_MESSAGE(started.has_value(), started.error().message());
    wait_for_echo(feed);
    CHECK(feed.stop().joined);
    server.restart(config("CN=other-client"));
    CHECK(feed.start(20s).error() == Error::login_refused);
}

TEST_CASE("NATS over TLS: a URL that demands it refuses a server that has none")
{
    const NatsServer server;
    NatsFeed feed{{.url = url_by_name(server, "tls"), .token = "t0ken-of-mine", .tls = trusting()},
                  silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_FALSE(started.has_value());
    CHECK(started.error() == Error::tls_failed);
    CHECK(started.error().message().find("offers none") != std::string::npos);
}

TEST_CASE("NATS over TLS: a server that is killed and started again is trusted again")
{
    NatsServer server{with_tls("valid")};
    NatsFeed feed{{.url = url_by_name(server), .tls = trusting()}, coming_back()};
    REQUIRE(feed.start(20s).has_value());
    (void)next(feed, Event::Kind::up);
    server.kill();
    (void)next(feed, Event::Kind::down);
    server.restart();
    (void)next(feed, Event::Kind::up);
    CHECK(feed.link().value().connection_info().tls.has_value());
    wait_for_echo(feed);
}

TEST_CASE("NATS over TLS: TLS first, where the option says so")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     c.send("INFO {\"server_name\":\"first\",\"max_payload\":1024}\r\n");
                     (void)c.read_until("PING\r\n");
                     c.send("PONG\r\n");
                     (void)c.read_until("PING\r\n"); // the close's
                     c.send("PONG\r\n");
                     (void)c.wait_for_goodbye();
                     c.say_goodbye();
                 }};
    NatsFeed feed{{.url = "nats://localhost:" + std::to_string(peer.port()),
                   .tls = trusting(),
                   .tls_first = true},
                  silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_MESSAGE(started.has_value(), started.error().message());
    CHECK(server_name(feed) == "first");
    CHECK(feed.link().value().connection_info().tls.has_value());
    CHECK(feed.stop().clean());
}

TEST_CASE("NATS over TLS: bytes that come before TLS are refused")
{
    RawPeer peer{[](RawConnection& c) {
        c.send("INFO {\"tls_required\":true}\r\nINFO {\"connect_urls\":[\"evil:4222\"]}\r\n");
        c.wait_for_end();
    }};
    NatsFeed feed{{.url = "nats://localhost:" + std::to_string(peer.port()), .tls = trusting()},
                  silent_options()};
    const auto started = feed.start(20s);
    REQUIRE_FALSE(started.has_value());
    CHECK(started.error() == Error::protocol_violation);
}

} // namespace nats_tls_test
