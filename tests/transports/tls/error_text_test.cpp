// Codes into words, by table.
#include "tls/errors.hpp"
#include "tls/tls.hpp"

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <string>

namespace error_text_test {

using namespace sidecar;
using namespace sidecar::stream;
using namespace std::string_literals;

Refusal refused(int code, int depth = 0)
{
    return {.code = code,
            .depth = depth,
            .certificate = {.subject = "S",
                            .issuer = "I",
                            .names = {"a.example", "b.example"},
                            .name_count = 2,
                            .not_before = "2026-01-01 00:00:00 UTC",
                            .not_after = "2026-02-01 00:00:00 UTC"},
            .wanted = "feed.example",
            .is_system_trust = true,
            .now = "2026-03-01 00:00:00 UTC"};
}

bool is_printable(const std::string& text)
{
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

TEST_CASE("tls verdict: each refused certificate has its own text")
{
    struct Row {
        int code, depth;
        std::string text;
    };
    const Row rows[] = {
        {X509_V_ERR_CERT_HAS_EXPIRED, 0,
         R"(the certificate of "S" expired on 2026-02-01 00:00:00 UTC (it is 2026-03-01 00:00:00 UTC by this machine's clock))"},
        {X509_V_ERR_CERT_HAS_EXPIRED, 1,
         R"(the certificate of the authority "S" expired on 2026-02-01 00:00:00 UTC (it is 2026-03-01 00:00:00 UTC by this machine's clock))"},
        {X509_V_ERR_CERT_NOT_YET_VALID, 0,
         R"(the certificate of "S" is not valid before 2026-01-01 00:00:00 UTC (it is 2026-03-01 00:00:00 UTC by this machine's clock))"},
        {X509_V_ERR_HOSTNAME_MISMATCH, 0,
         R"(the certificate is issued for "a.example", "b.example" instead of "feed.example")"},
        {X509_V_ERR_IP_ADDRESS_MISMATCH, 0,
         R"(the certificate is issued for "a.example", "b.example" instead of "feed.example")"},
        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, 0,
         R"(the certificate of "S" is self-signed, and it is not in the system's trust store)"},
        {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, 2,
         R"(unknown issuer: the chain ends with "S", which is self-signed and not in the system's trust store)"},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, 0,
         R"(unknown issuer: the certificate of "S" was issued by "I", which is not in the system's trust store and which the peer did not send)"},
        {X509_V_ERR_INVALID_PURPOSE, 1,
         R"(the certificate of the authority "S" may not issue certificates for servers)"},
        {X509_V_ERR_INVALID_CA, 1,
         R"(the certificate of the authority "S" was used to issue another, and may not be (it is no authority))"},
        {X509_V_ERR_EE_KEY_TOO_SMALL, 0, R"(the certificate of "S" has a key that is too weak)"},
        {X509_V_ERR_CERT_REVOKED, 0, R"(the certificate of "S" was refused: certificate revoked)"},
    };
    for (const auto& row : rows)
        CHECK(describe(refused(row.code, row.depth)) == row.text);
}

TEST_CASE("tls verdict: names are told by a few, and how many more there are")
{
    auto refusal = refused(X509_V_ERR_HOSTNAME_MISMATCH);
    refusal.certificate.name_count = 1000;
    CHECK(
        describe(refusal)
        == R"(the certificate is issued for "a.example", "b.example" and 998 more instead of "feed.example")");
    refusal.certificate.names = {};
    refusal.certificate.name_count = 0;
    CHECK(
        describe(refusal)
        == R"(the certificate of "S" names no host or address (subjectAltName; a common name does not count), so it is not for "feed.example")");
    refusal.certificate.names = {"a.example", "192.0.2.1"};
    refusal.certificate.name_count = 2;
    refusal.wanted = "192.0.2.1";
    CHECK(
        describe(refusal)
        == R"(the certificate is issued for "192.0.2.1" as a name (dNSName), and not as an address (iPAddress))");
    refusal.is_system_trust = false;
    refusal.code = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
    CHECK(describe(refusal).ends_with("not in the authorities given"));
}

TEST_CASE("tls verdict: what a stranger wrote is printable and short")
{
    auto refusal = refused(X509_V_ERR_CERT_HAS_EXPIRED);
    refusal.certificate.subject = "a\r\n\x1b[31m\"\\\xff"s + '\0' + std::string(10000, 'x');
    const auto text = describe(refusal);
    CHECK(is_printable(text));
    CHECK(text.size() < 300);
    CHECK(text.find(R"("a\r\n\x1b[31m\"\\\xff\x00xxx)") != text.npos);
    CHECK(text.find("xxx\"... expired") != text.npos);
}

TEST_CASE("tls verdict: alerts are told by name and meaning, unknown ones by number")
{
    const auto described = [](int alert, TlsVersion minimum = TlsVersion::tls_1_2) {
        return describe(HandshakeFault{.reason = SSL_AD_REASON_OFFSET + alert, .minimum = minimum});
    };
    CHECK(
        described(SSL_AD_HANDSHAKE_FAILURE)
        == "the peer refused the handshake with the alert handshake_failure (40): it accepts none "
           "of what was offered, or demands a client certificate");
    CHECK(described(SSL_AD_PROTOCOL_VERSION, TlsVersion::tls_1_3)
          == "the peer refused the handshake with the alert protocol_version (70): it speaks none "
             "of the versions that were offered (TLS 1.3)");
    CHECK(described(SSL_AD_INTERNAL_ERROR).find("internal_error (80)") != std::string::npos);
    CHECK(described(199) == "the peer refused the handshake with the alert 199");
    for (int alert = 0; alert < 256; ++alert) {
        CHECK(is_printable(alert_text(alert)));
        CHECK(alert_text(alert).find(std::to_string(alert)) != std::string::npos);
    }
}

TEST_CASE("tls verdict: other faults of a handshake")
{
    CHECK(describe(HandshakeFault{.reason = SSL_R_UNSUPPORTED_PROTOCOL})
          == "the peer wants another protocol version than TLS 1.2 and 1.3");
    CHECK(describe(HandshakeFault{.reason = SSL_R_NO_PROTOCOLS_AVAILABLE}).find("settings")
          != std::string::npos);
    CHECK(describe(HandshakeFault{.reason = SSL_R_BAD_SIGNATURE, .reason_text = "bad signature"})
          == "the handshake failed: bad signature");
    CHECK(describe(HandshakeFault{.is_ssl = false, .reason_text = "malloc failure"})
          == "the handshake failed: malloc failure");
}

TEST_CASE("tls verdict: what is no TLS is known by its first bytes")
{
    for (const auto& tls : {""s, "\x16"s, "\x16\x03"s, "\x15\x03\x01"s, "\x16\x03\x03\x7f"s})
        CHECK(can_be_tls(tls));
    for (const auto& other : {"H"s, "220 ready"s, "\xff"s, "\x16\x02"s, "\0"s})
        CHECK_FALSE(can_be_tls(other));
    for (const auto& http : {"H"s, "HTT"s, "HTTP/1.1 400"s})
        CHECK(can_be_http(http));
    for (const auto& other : {""s, "h"s, "HTTX"s, "220"s})
        CHECK_FALSE(can_be_http(other));
    CHECK(describe_not_tls("HTTP/1.1 400 Bad Request\r\nServer: x\r\n")
          == R"(the peer speaks no TLS here: it answered plain HTTP, "HTTP/1.1 400 Bad Request")");
    CHECK(describe_not_tls("220 mail\r\n")
          == R"(the peer speaks no TLS here: it sent "220 mail\r\n")");
    CHECK(is_printable(describe_not_tls(std::string(100, '\xff'))));
}

TEST_CASE("tls verdict: only a certificate or a protocol that is named ends all attempts")
{
    for (int alert = 0; alert < 256; ++alert) {
        const bool is_named = (alert >= 41 && alert <= 46) || alert == 48 || alert == 49
                              || alert == 116 || alert == 70 || alert == 120;
        CAPTURE(alert);
        CHECK(is_verdict(alert) == is_named);
        CHECK(is_permanent(HandshakeFault{.reason = SSL_AD_REASON_OFFSET + alert}) == is_named);
    }
    CHECK(is_permanent(HandshakeFault{.reason = SSL_R_UNSUPPORTED_PROTOCOL}));
    CHECK_FALSE(is_permanent(HandshakeFault{.reason = SSL_R_BAD_SIGNATURE}));
    CHECK_FALSE(is_permanent(HandshakeFault{.is_ssl = false, .reason = SSL_R_UNKNOWN_PROTOCOL}));
    CHECK_FALSE(is_permanent(HandshakeFault{}));
}

TEST_CASE("tls verdict: close_notify in the handshake has a text, and HTTP a status")
{
    CHECK(describe(HandshakeFault{})
          == "the peer ended the connection with close_notify in the middle of the handshake");
    CHECK(http_status_of("HTTP/1.0 503 Service Unavailable\r\n") == 503);
    CHECK(http_status_of("HTTP/1.1 400\r\n") == 400);
    for (const auto* none : {"220 mail", "HTTP/", "HTTP/1.1 x", "HTTP/1.1"})
        CHECK(http_status_of(none) == 0);
}

TEST_CASE("tls verdict: a purpose is refused by the usage that forbids it, a wildcard by its reach")
{
    auto refusal = refused(X509_V_ERR_INVALID_PURPOSE);
    CHECK(describe(refusal)
          == R"(the certificate of "S" is not meant for servers (its key usage))");
    refusal = refused(X509_V_ERR_HOSTNAME_MISMATCH);
    refusal.certificate.names = {"*.wild.test"};
    refusal.certificate.name_count = 1;
    refusal.wanted = "_x.wild.test";
    CHECK(
        describe(refusal)
        == R"(the certificate is issued for "*.wild.test" instead of "_x.wild.test" (a wildcard matches letters, digits and hyphens, not for '_'))");
}

TEST_CASE(
    "tls errors: what ends a stream is told apart, and alerts in place of the first byte refuse")
{
    CHECK(is_truncated(make_error_code(TlsEnd::truncated)));
    CHECK_FALSE(is_truncated(make_error_code(TlsEnd::bad_record)));
    CHECK(make_error_code(TlsEnd::truncated).message()
          == "the peer's end came without TLS's close_notify");
    CHECK(alert_code(TlsEnd::alert, 80).message().find("internal_error (80)") != std::string::npos);
    CHECK_FALSE(tls_refusal(alert_code(TlsEnd::alert, 116), "x"));
    CHECK_FALSE(tls_refusal(error_code{}, "x"));
    const auto refusal = tls_refusal(alert_code(TlsEnd::refusal, 116), "x");
    REQUIRE(refusal);
    CHECK(*refusal == Error::tls_failed);
    CHECK(refusal->message().find("certificate_required (116): it demands a client certificate")
          != std::string::npos);
}

} // namespace error_text_test
