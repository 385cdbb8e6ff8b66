// The server's end of TLS against our own client: certificates, clients, sessions, options.
#include "pair.hpp"
#include "support/tls_peer.hpp"
#include "tls/errors.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

namespace server_test {

using namespace tls_pair;

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TlsOptions client_with(const std::string& name, TlsVersion minimum = TlsVersion::tls_1_2)
{
    TlsOptions options{.ca_file = certificate("ca.pem"), .minimum = minimum};
    if (!name.empty()) {
        options.certificate_file = certificate(name + ".pem");
        options.key_file = certificate(name + ".key");
    }
    return options;
}

TEST_CASE("tls server: text passes in both directions, and the facts are there")
{
    Pair pair{TlsServerOptions{.certificates = {identity("chained")}, .alpn = {"b", "a"}}};
    auto options = client_with("");
    options.alpn = {"a", "b"};
    pair.shake_hands(options);
    REQUIRE(pair.is_secure());
    CHECK(pair.pass(*pair.client, *pair.server, "to the server") == "to the server");
    CHECK(pair.pass(*pair.server, *pair.client, std::string(16'000, 's'))
          == std::string(16'000, 's'));
    CHECK(pair.server->application_protocol() == "b"); // the server's choice
    const auto info = pair.server->tls_info().value();
    CHECK(info.version == "TLSv1.3");
    CHECK(info.alpn == "b");
    CHECK_FALSE(info.is_verified);
    CHECK_FALSE(info.is_resumed);
    CHECK(info.certificate == CertificateInfo{});
    CHECK(pair.client->tls_info()->certificate.subject == "chained");
}

TEST_CASE("tls server: a handshake may come byte by byte, in both directions")
{
    Pair pair{TlsServerOptions{.certificates = {identity("valid")}}};
    pair.client_below->max_per_read = pair.server_below->max_per_read = 1;
    pair.shake_hands();
    CHECK(pair.is_secure());
}

TEST_CASE("tls server: the handshake's first bytes may have been read before")
{
    for (const std::size_t size : {1u, 5u, 100u, 10'000u}) {
        Pair pair{TlsServerOptions{.certificates = {identity("valid")}}};
        pair.start_client();
        const auto first = pair.client_below->taken.substr(0, size);
        pair.client_below->taken.erase(0, size);
        const auto bytes = fakes::bytes_of(first);
        pair.early.assign(bytes.begin(), bytes.end());
        pair.start_server();
        pair.carry();
        CHECK(pair.is_secure());
    }
}

TEST_CASE("tls server: the asked name chooses the certificate")
{
    const auto shared =
        prepare({.certificates = {identity("rsa"), identity("wrong"), identity("valid"),
                                  identity("exact"), identity("mixed"), identity("common")}});
    struct Row {
        std::string asked, subject;
    };
    const Row rows[] = {
        {"a.example", "wrong"},         {"F.example", "wrong"},
        {"other.example", "localhost"}, {"a.wild.example", "exact"},
        {"b.wild.example", "valid"},    {"localhost", "valid"}, // the client prefers ECDSA
        {"unknown.example", "rsa"},     {"a.b.wild.example", "rsa"},
        {"127.0.0.1", "rsa"}, // an address is not asked for
    };
    for (const auto& row : rows) {
        CAPTURE(row.asked);
        Pair pair{shared};
        pair.peer = "by name";
        pair.shake_hands({.server_name = row.asked, .insecure_skip_verification = true});
        REQUIRE(pair.is_secure());
        CHECK(pair.client->tls_info()->certificate.subject == row.subject);
    }
}

TEST_CASE("tls server: whether a client needs a certificate, and which is taken")
{
    struct Row {
        ClientCertificates which;
        std::string client, subject, server_says, client_says;
    };
    const auto none = ClientCertificates::none, optional = ClientCertificates::optional,
               required = ClientCertificates::required;
    const Row rows[] = {
        {none, "", "", "", ""},
        {none, "client", "", "", ""},
        {optional, "", "", "", ""},
        {optional, "client", "client", "", ""},
        {required, "client", "client", "", ""},
        {required, "chained", "chained", "", ""},
        {required, "", "", "the client has no certificate, and needs one", "demands a client"},
        {optional, "unknown", "",
         "unknown issuer: the certificate of \"unknown\" was issued by \"Other Authority\", which "
         "is not in the authorities given and which the client did not send",
         "unknown_ca (48)"},
        {required, "self-signed", "",
         "\"self-signed\" is self-signed, and it is not in the "
         "authorities given",
         "unknown_ca (48)"},
        {required, "expired", "", "the certificate of \"expired\" expired on",
         "certificate_expired (45)"},
        {required, "future", "", "the certificate of \"future\" is not valid before",
         "bad_certificate (42)"},
        {required, "no-client", "", "is not meant for clients (its extended key usage)",
         "unsupported_certificate (43)"},
    };
    for (const auto& row : rows)
        for (const auto version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
            CAPTURE(row.client);
            CAPTURE(static_cast<int>(row.which));
            CAPTURE(version);
            TlsServerOptions options{.certificates = {identity("valid")},
                                     .client_certificates = row.which};
            if (row.which != none)
                options.ca_file = certificate("ca.pem");
            Pair pair{options};
            pair.peer = "with a certificate";
            pair.max_version = version;
            pair.shake_hands(client_with(row.client));
            const auto told =
                pair.client ? pair.client_error.message() : pair.client_failure.explanation();
            if (row.server_says.empty()) {
                REQUIRE(pair.is_secure());
                const auto info = pair.server->tls_info().value();
                CHECK(info.certificate.subject == row.subject);
                CHECK(info.is_verified == !row.subject.empty());
                continue;
            }
            CHECK_FALSE(pair.server);
            CHECK(pair.server_failure == Error::tls_failed);
            CHECK(pair.server_failure.endpoint() == "a client");
            CHECK(pair.server_failure.attempted() == "secure the connection");
            CAPTURE(pair.server_failure.message());
            CHECK(has(pair.server_failure.explanation(), row.server_says));
            CAPTURE(told);
            CHECK(has(told, row.client_says));
        }
}

TEST_CASE("tls server: a session goes on, with the client's certificate")
{
    for (const auto version : {TLS1_2_VERSION, TLS1_3_VERSION})
        for (const std::string name : {"", "client"}) {
            CAPTURE(version);
            CAPTURE(name);
            const auto shared = prepare({.certificates = {identity("valid"), identity("wrong")},
                                         .client_certificates = ClientCertificates::optional,
                                         .ca_file = certificate("ca.pem")});
            for (const bool is_resumed : {false, true, true}) {
                Pair pair{shared};
                pair.peer = "again " + name + std::to_string(version);
                pair.max_version = version;
                pair.shake_hands(client_with(name));
                REQUIRE(pair.is_secure());
                const auto info = pair.server->tls_info().value();
                CHECK(info.is_resumed == is_resumed);
                CHECK(pair.client->tls_info()->is_resumed == is_resumed);
                CHECK(info.certificate.subject == name);
                CHECK(info.is_verified == !name.empty());
                CHECK(pair.pass(*pair.client, *pair.server, "text") == "text");
            }
        }
}

/// Makes a client's certificate of `client.pem` that the authority signed for so long.
void make_brief_certificate(const std::string& path, long seconds)
{
    const auto read = [](const std::string& file, auto* parse) {
        std::unique_ptr<BIO, decltype(&BIO_free)> bio{BIO_new_file(certificate(file).c_str(), "r"),
                                                      BIO_free};
        return parse(bio.get(), nullptr, nullptr, nullptr);
    };
    const std::unique_ptr<X509, decltype(&X509_free)> made{read("client.pem", PEM_read_bio_X509),
                                                           X509_free};
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{
        read("ca.key", PEM_read_bio_PrivateKey), EVP_PKEY_free};
    X509_gmtime_adj(X509_getm_notAfter(made.get()), seconds);
    REQUIRE(X509_sign(made.get(), key.get(), EVP_sha256()) > 0);
    const std::unique_ptr<BIO, decltype(&BIO_free)> out{BIO_new_file(path.c_str(), "w"), BIO_free};
    REQUIRE(PEM_write_bio_X509(out.get(), made.get()) == 1);
}

TEST_CASE("tls server: a ticket does not outlive the certificate of its client")
{
    using namespace std::chrono_literals;
    const auto shared = prepare({.certificates = {identity("valid")},
                                 .client_certificates = ClientCertificates::required,
                                 .ca_file = certificate("ca.pem")});
    const auto brief = certificate("brief.pem");
    auto client = client_with("client");
    client.certificate_file = brief;
    make_brief_certificate(brief, 2);
    for (int round = 0; round < 3; ++round) {
        const bool is_over = round == 2;
        if (is_over)
            std::this_thread::sleep_for(2500ms);
        for (const auto version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
            Pair pair{shared};
            pair.peer = "brief " + std::to_string(version);
            pair.max_version = version;
            pair.shake_hands(client);
            CAPTURE(pair.server_failure.message());
            CHECK(static_cast<bool>(pair.server) == !is_over);
            if (pair.server)
                CHECK(pair.server->tls_info()->is_resumed == (round == 1));
            CHECK(has(pair.server_failure.explanation(), "expired on") == is_over);
        }
    }
}

TEST_CASE("tls server: options that cannot work are bad_options, without a secret")
{
    const auto valid = identity("valid");
    const auto text = [](const std::string& file) { return Certificates::all().text(file); };
    const auto of = [](TlsServerOptions::Certificate one) {
        return TlsServerOptions{.certificates = {identity("wrong"), std::move(one)}};
    };
    const auto with = [&](ClientCertificates which, std::string ca = {}) {
        return TlsServerOptions{
            .certificates = {valid}, .client_certificates = which, .ca_file = std::move(ca)};
    };
    const auto required = ClientCertificates::required;
    struct Row {
        TlsServerOptions options;
        std::string_view part;
    };
    const Row rows[] = {
        {{}, "certificates is empty, and a server needs one"},
        {of({}),
         "certificates[1].certificate_file and certificates[1].certificate_pem: one of them "
         "is needed"},
        {of({.certificate_file = valid.certificate_file}),
         "certificates[1].key_file and certificates[1].key_pem: one of them is needed"},
        {of({.certificate_file = "a", .key_file = "b", .certificate_pem = "c"}),
         "certificates[1].certificate_pem: one of them is needed, and not both"},
        {of({.certificate_file = "/nowhere/cert.pem", .key_file = valid.key_file}),
         "certificates[1].certificate_file \"/nowhere/cert.pem\" cannot be read: No such file or "
         "directory"},
        {of({.certificate_file = valid.certificate_file, .key_file = "/nowhere/key.pem"}),
         "certificates[1].key_file \"/nowhere/key.pem\" cannot be read: No such file"},
        {of({.certificate_file = valid.key_file, .key_file = valid.key_file}),
         "holds no certificate in PEM form"},
        {of({.certificate_file = valid.certificate_file, .key_file = valid.certificate_file}),
         "holds no private key in PEM form"},
        {of({.certificate_file = valid.certificate_file, .key_file = certificate("wrong.key")}),
         "wrong.key\" is not the key of certificates[1].certificate_file \""},
        {of({.certificate_pem = text("valid.pem"), .key_pem = text("wrong.key")}),
         "certificates[1].key_pem is not the key of certificates[1].certificate_pem"},
        {of({.certificate_file = certificate("client.pem"),
             .key_file = certificate("client.enc.key")}),
         "the key is encrypted, and key_password is empty"},
        {of({.certificate_file = certificate("client.pem"),
             .key_file = certificate("client.enc.key"),
             .key_password = "tell nobody"}),
         "key_password does not decrypt the key"},
        {of(identity("expired")), "expired.pem\": the certificate of \"expired\" expired on 20"},
        {{.certificates = {identity("expired")}}, "certificates[0].certificate_file \""},
        {of(identity("future")), "the certificate of \"future\" is not valid before 20"},
        {of(identity("weak")), "weak.pem\" cannot be used: ee key too small"},
        {with(required), "client_certificates needs the authorities that issue them"},
        {with(ClientCertificates::none, certificate("ca.pem")), "client_certificates is none"},
        {with(required, "/nowhere/ca.pem"), "ca_file \"/nowhere/ca.pem\" cannot be read"},
        {{.certificates = {valid}, .client_certificates = required, .ca_pem = "nothing"},
         "ca_pem holds no certificate in PEM form"},
        {with(static_cast<ClientCertificates>(7)), "client_certificates has no such value"},
        {{.certificates = {valid}, .alpn = {""}}, "each of alpn has 1 to 255 bytes"},
        {{.certificates = {valid}, .minimum = static_cast<TlsVersion>(7)},
         "minimum is no version of TLS"},
    };
    for (const auto& row : rows) {
        const auto prepared = stream::prepare_tls_server(row.options, "wss://localhost:8443");
        CAPTURE(row.part);
        REQUIRE(prepared.has_error());
        const auto& failure = prepared.error();
        const auto message = failure.message();
        CAPTURE(message);
        CHECK(failure == Error::bad_options);
        CHECK(failure.attempted() == "prepare TLS");
        CHECK(failure.endpoint() == "wss://localhost:8443");
        CHECK(has(message, row.part));
        CHECK_FALSE(has(message, "tell nobody"));
        CHECK_FALSE(has(message, "BEGIN"));
    }
}

TEST_CASE("tls server: certificate and key come from files or from memory, each")
{
    const auto text = [](const std::string& file) { return Certificates::all().text(file); };
    const TlsServerOptions::Certificate rows[] = {
        {.key_file = certificate("chained.key"), .certificate_pem = text("chained.pem")},
        {.certificate_file = certificate("chained.pem"), .key_pem = text("chained.key")},
        {.certificate_pem = text("chained.pem"), .key_pem = text("chained.key")},
        {.certificate_pem = text("chained.pem") + text("chained.key"),
         .key_pem = text("chained.pem") + text("chained.key")},
        {.certificate_file = certificate("client.pem"),
         .key_file = certificate("client.enc.key"),
         .key_password = "sesame"},
    };
    for (const auto& row : rows) {
        Pair pair{TlsServerOptions{.certificates = {row}}};
        pair.shake_hands({.ca_file = certificate("ca.pem"),
                          .insecure_skip_verification = !row.key_password.empty()});
        CHECK(pair.is_secure());
    }
}

} // namespace server_test
