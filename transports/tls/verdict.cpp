#include "verdict.hpp"

#include "error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>

namespace sidecar::stream {
namespace {

std::string whose(const Refusal& refusal)
{
    return fmt::format("the certificate of {}{}", refusal.depth == 0 ? "" : "the authority ",
                       quoted(refusal.certificate.subject));
}

const char* trusted(const Refusal& refusal)
{
    return refusal.is_system_trust ? "the system's trust store" : "the authorities given";
}

std::string names_of(const CertificateFacts& certificate)
{
    std::vector<std::string> names;
    for (const auto& name : certificate.names)
        names.push_back(quoted(name));
    auto text = fmt::format("{}", fmt::join(names, ", "));
    if (certificate.name_count > names.size())
        text += fmt::format(" and {} more", certificate.name_count - names.size());
    return text;
}

std::string wrong_name(const Refusal& refusal)
{
    if (refusal.certificate.name_count == 0)
        return fmt::format("{} names no host or address (subjectAltName; a common name does not "
                           "count), so it is not for {}",
                           whose(refusal), quoted(refusal.wanted));
    const auto& names = refusal.certificate.names;
    if (std::find(names.begin(), names.end(), refusal.wanted) != names.end())
        return fmt::format("the certificate is issued for {} as a name (dNSName), and not as an "
                           "address (iPAddress)",
                           quoted(refusal.wanted));
    return fmt::format("the certificate is issued for {} instead of {}",
                       names_of(refusal.certificate), quoted(refusal.wanted));
}

std::string unknown_issuer(const Refusal& refusal)
{
    return fmt::format("unknown issuer: {} was issued by {}, which is not in {} and which the peer "
                       "did not send",
                       whose(refusal), quoted(refusal.certificate.issuer), trusted(refusal));
}

/// Apart from dates, names and issuers.
std::string other_refusal(const Refusal& refusal)
{
    const auto says = [&](const char* what) { return fmt::format("{} {}", whose(refusal), what); };
    switch (refusal.code) {
    case X509_V_ERR_INVALID_PURPOSE:
        return says(refusal.depth == 0 ? "is not meant for servers (its extended key usage)"
                                       : "may not issue certificates for servers");
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
        return says("was used to issue another, and may not be (it is no authority)");
    case X509_V_ERR_PATH_LENGTH_EXCEEDED: return says("may not stand so high in a chain");
    case X509_V_ERR_CERT_CHAIN_TOO_LONG: return "the chain of certificates is too long";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: return says("has a signature that is not its issuer's");
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL: return says("has a key that is too weak");
    case X509_V_ERR_CA_MD_TOO_WEAK: return says("is signed with a digest that is too weak");
    case X509_V_ERR_PERMITTED_VIOLATION:
    case X509_V_ERR_EXCLUDED_VIOLATION:
        return says("is for a name that its authority may not issue certificates for");
    default: return fmt::format("{} was refused: {}", whose(refusal), refusal.code_text);
    }
}

const char* offered_versions(TlsVersion minimum)
{
    return minimum == TlsVersion::tls_1_3 ? "TLS 1.3" : "TLS 1.2 and 1.3";
}

} // namespace

std::string describe(const Refusal& refusal)
{
    switch (refusal.code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return fmt::format("{} expired on {} (it is {} by this machine's clock)", whose(refusal),
                           refusal.certificate.not_after, refusal.now);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return fmt::format("{} is not valid before {} (it is {} by this machine's clock)",
                           whose(refusal), refusal.certificate.not_before, refusal.now);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return wrong_name(refusal);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return fmt::format("{} is self-signed, and it is not in {}", whose(refusal),
                           trusted(refusal));
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return fmt::format("unknown issuer: the chain ends with {}, which is self-signed and not "
                           "in {}",
                           quoted(refusal.certificate.subject), trusted(refusal));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: return unknown_issuer(refusal);
    default: return other_refusal(refusal);
    }
}

std::string describe(const HandshakeFault& fault)
{
    if (!fault.is_ssl)
        return fmt::format("the handshake failed: {}", fault.reason_text);
    if (const int alert = fault.reason - SSL_AD_REASON_OFFSET; alert >= 0 && alert < 256) {
        auto text = fmt::format("the peer refused the handshake with the {}", alert_text(alert));
        if (alert == SSL_AD_PROTOCOL_VERSION)
            text += fmt::format(" ({})", offered_versions(fault.minimum));
        return text;
    }
    switch (fault.reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
        return fmt::format("the peer wants another protocol version than {}",
                           offered_versions(fault.minimum));
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
        return fmt::format("this machine's settings of OpenSSL forbid {}",
                           offered_versions(fault.minimum));
    default: return fmt::format("the handshake failed: {}", fault.reason_text);
    }
}

bool can_be_tls(std::string_view first_bytes) noexcept
{
    // change_cipher_spec, alert, handshake, application_data; then the version, 3.x
    if (!first_bytes.empty() && (first_bytes[0] < 20 || first_bytes[0] > 23))
        return false;
    return first_bytes.size() < 2 || first_bytes[1] == 3;
}

bool can_be_http(std::string_view first_bytes) noexcept
{
    constexpr std::string_view http = "HTTP/";
    const auto common = std::min(http.size(), first_bytes.size());
    return common != 0 && first_bytes.substr(0, common) == http.substr(0, common);
}

std::string describe_not_tls(std::string_view first_bytes)
{
    if (first_bytes.starts_with("HTTP/"))
        return fmt::format("the peer speaks no TLS here: it answered plain HTTP, {}",
                           quoted(first_bytes.substr(0, first_bytes.find_first_of("\r\n"))));
    return fmt::format("the peer speaks no TLS here: it sent {}", quoted(first_bytes, 32));
}

std::string utc_text(const std::tm& time)
{
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", time.tm_year + 1900,
                       time.tm_mon + 1, time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec);
}

std::string quoted(std::string_view bytes, std::size_t most_bytes)
{
    std::string text;
    for (const char c : bytes.substr(0, most_bytes)) {
        if (c == '"' || c == '\\')
            text += fmt::format("\\{}", c);
        else if (c == '\r' || c == '\n')
            text += c == '\r' ? "\\r" : "\\n";
        else if (c >= 0x20 && c < 0x7f)
            text += c;
        else
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    return fmt::format("\"{}\"{}", text, bytes.size() > most_bytes ? "..." : "");
}

} // namespace sidecar::stream
