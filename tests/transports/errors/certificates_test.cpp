// Certificates that are refused, and other handshakes of TLS that fail.
#include "../tls/trial.hpp"
#include "table.hpp"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <cstdint>

namespace certificates_test {

using namespace sidecar;
using namespace std::chrono_literals;

Failure start_with(const std::string& certificate, const std::string& host = "localhost")
{
    return start_against(TlsPeerOptions{.certificate = certificate}, trusting(), host);
}

/// What a start ends with against a peer that hears the first bytes and does this.
Failure start_with(const RawPeer::Script& script)
{
    RawPeer peer{[&](RawConnection& c) {
        c.read(10);
        script(c);
    }};
    LinesFeed feed{lines_to(peer.port()), at_home()};
    return feed.start(20s).error();
}

Failure refused_by_alert(std::uint8_t alert)
{
    return start_with([&](RawConnection& c) {
        c.send(std::string{"\x15\x03\x03\0\x02\x02", 6} + static_cast<char>(alert));
        c.wait_for_end();
    });
}

Failure start_with_options(TlsOptions tls)
{
    LinesFeed feed{lines_to(4711, std::move(tls)), at_home()};
    return feed.start(20s).error();
}

TlsOptions with_key(const std::string& key, const std::string& password = {})
{
    return {.ca_file = certificate("ca.pem"),
            .certificate_file = certificate("client.pem"),
            .key_file = certificate(key),
            .key_password = password};
}

TEST_CASE("error table: certificates")
{
    ErrorTable table{"Certificates"};
    table.add("has an expired certificate", start_with("expired"));
    table.add("has one for later", start_with("future"));
    table.add("has one that an expired authority issued", start_with("behind-expired"));
    table.add("has one for others", start_with("wrong"));
    table.add("has one for an address", start_with("address"));
    table.add("has one for names, and an address was connected to",
              start_with("wrong", "127.0.0.1"));
    table.add("has one for the address, but as a name", start_with("address-name", "127.0.0.1"));
    table.add("has `*.wild.example`, and more than one label was connected to",
              start_with("valid", "a.b.wild.example"));
    table.add("has one with a common name only", start_with("common"));
    table.add("has one with the address as its common name only",
              start_with("common-address", "127.0.0.1"));
    table.add("has the right common name, and another name beside it", start_with("mixed"));
    table.add("has names that are no names", start_with("strange"));
    table.add("has a self-signed one", start_with("self-signed"));
    table.add("has one of an unknown authority", start_with("unknown"));
    table.add("has one that the system does not know",
              start_against(TlsPeerOptions{}, TlsOptions{}));
    table.add("forgot the intermediate one", start_with("chained-alone"));
    table.add("has one for clients only", start_with("no-server"));
    table.compare();
}

TEST_CASE("error table: TLS handshakes")
{
    ErrorTable table{"TLS handshakes"};
    auto demanding = trusting();
    demanding.minimum = TlsVersion::tls_1_3;
    auto choosy = trusting();
    choosy.alpn = {"other"};
    table.add("speaks TLS 1.1 at most", start_against({.version = TLS1_1_VERSION}));
    table.add("speaks TLS 1.2, and `minimum` is 1.3",
              start_against({.version = TLS1_2_VERSION}, demanding));
    table.add("has no host of that name", start_against({.refuses_name = true}));
    table.add("speaks none of `alpn`", start_against({.alpn = "lines/0"}, choosy));
    table.add("demands a client certificate, TLS 1.2",
              start_against({.version = TLS1_2_VERSION, .demands_client = true}));
    table.add("demands a client certificate, TLS 1.3",
              start_against({.version = TLS1_3_VERSION, .demands_client = true}));
    for (const int alert : {42, 43, 44, 45, 46, 48, 49, 50, 51, 71, 80})
        table.add("refuses with the alert " + std::to_string(alert),
                  refused_by_alert(static_cast<std::uint8_t>(alert)));
    table.add("refuses with an alert that nobody knows", refused_by_alert(199));
    table.add("speaks HTTP", start_with([](RawConnection& c) {
                  c.send("HTTP/1.1 400 Bad Request\r\n\r\n");
                  c.wait_for_end();
              }));
    table.add("speaks something else", start_with([](RawConnection& c) {
                  c.send("220 mail.example\r\n");
                  c.wait_for_end();
              }));
    table.add("ends the connection", start_with([](RawConnection& c) {
                  c.half_close();
                  c.wait_for_end();
              }));
    table.add("ends it within its answer", start_with([](RawConnection& c) {
                  c.send("\x16\x03\x03\x01");
                  c.half_close();
                  c.wait_for_end();
              }));
    table.add("resets the connection", start_with([](RawConnection& c) { c.reset(); }));
    RawPeer mute{[](RawConnection& c) { c.wait_for_end(); }};
    LinesFeed feed{lines_to(mute.port()), at_home()};
    table.add("never answers", feed.start(100ms).error());
    table.compare();
}

TEST_CASE("error table: options of TLS")
{
    ErrorTable table{"Options of TLS"};
    table.add("`ca_file` is missing", start_with_options({.ca_file = "/nowhere/ca.pem"}));
    table.add("`ca_file` is a directory", start_with_options({.ca_file = "/etc"}));
    table.add("`ca_file` is something else",
              start_with_options({.ca_file = certificate("ca.key")}));
    table.add("`ca_pem` is no text of PEM", start_with_options({.ca_pem = "nothing"}));
    table.add("`ca_pem` has a certificate that is broken",
              start_with_options(
                  {.ca_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}));
    table.add("`ca_directory` is missing", start_with_options({.ca_directory = "/nowhere"}));
    table.add("`ca_directory` has no hashed names",
              start_with_options({.ca_directory = "/usr/include"}));
    table.add("a certificate without a key",
              start_with_options({.certificate_file = certificate("client.pem")}));
    table.add("`key_file` is something else", start_with_options(with_key("client.pem")));
    table.add("`key_file` is another's", start_with_options(with_key("valid.key")));
    table.add("`key_file` is encrypted", start_with_options(with_key("client.enc.key")));
    table.add("`key_password` is another's",
              start_with_options(with_key("client.enc.key", "tell nobody")));
    table.add("`server_name` is none", start_with_options({.server_name = "two words"}));
    table.add("a name of `alpn` is empty", start_with_options({.alpn = {""}}));
    table.compare();
}

} // namespace certificates_test
