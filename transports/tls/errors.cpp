#include "errors.hpp"

#include "answer.hpp"
#include "text.hpp"
#include "uri.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <array>

namespace sidecar::stream {
namespace {

/// The meaning of an alert beyond its name; RFC 8446 section 6.2 and RFC 5246.
struct Alert {
    int number;
    const char* meaning;
    bool is_verdict = false;
    const char* name = nullptr; ///< set if OpenSSL 3.0 has no name for it
};

constexpr const char* refuses_certificate = "it refuses our certificate";
constexpr const char* demands_certificate = "it demands a client certificate";

constexpr Alert alerts[] = {
    {40, "it accepts none of what was offered, or demands a client certificate"},
    {41, demands_certificate, true},
    {42, refuses_certificate, true},
    {43, refuses_certificate, true},
    {44, refuses_certificate, true},
    {45, refuses_certificate, true},
    {46, refuses_certificate, true},
    {48, "it does not trust who issued our certificate", true},
    {49, "it knows our certificate, and lets us not in", true},
    {70, "it speaks none of the versions that were offered", true},
    {71, "it demands stronger ciphers than were offered"},
    {80, "it failed for an internal reason"},
    {86, "", false, "inappropriate_fallback"},
    {109, "", false, "missing_extension"},
    {112, "it has no host of the name that was asked for"},
    {116, demands_certificate, true, "certificate_required"},
    {120, "it speaks none of the application protocols offered", true},
};

const Alert* find_alert(int number) noexcept
{
    const auto* const found = std::find_if(std::begin(alerts), std::end(alerts),
                                           [&](const Alert& a) { return a.number == number; });
    return found == std::end(alerts) ? nullptr : found;
}

/// Returns the RFCs' name; empty: unknown.
std::string alert_name(int number)
{
    if (const auto* const found = find_alert(number); found && found->name)
        return found->name;
    auto name = http::lower(SSL_alert_desc_string_long(number));
    std::replace(name.begin(), name.end(), ' ', '_');
    return name == "unknown" ? std::string{} : name;
}

class Category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "sidecar.tls"; }
    std::string message(int value) const override
    {
        if (value >= static_cast<int>(TlsEnd::alert))
            return "the peer's TLS " + alert_text(value % 1000);
        switch (static_cast<TlsEnd>(value)) {
        case TlsEnd::truncated: return "the peer's end came without TLS's close_notify";
        case TlsEnd::bad_record: return "a TLS record is broken, or was changed on its way";
        case TlsEnd::protocol: return "the peer broke the TLS protocol";
        case TlsEnd::renegotiation:
            return "the peer asked for renegotiation of TLS, and ended the connection when that "
                   "was declined";
        default: return "TLS failed on our side";
        }
    }
};

// --- certificates

std::string whose(const Refusal& refusal)
{
    return fmt::format("the certificate of {}{}", refusal.depth == 0 ? "" : "the authority ",
                       http::quote_name(refusal.certificate.subject));
}

/// The other end, in texts.
const char* other_end(TlsRole role) noexcept
{
    return role == TlsRole::client ? "the peer" : "the client";
}

const char* trusted(const Refusal& refusal)
{
    return refusal.is_system_trust ? "the system's trust store" : "the authorities given";
}

std::string names_of(const CertificateFacts& certificate)
{
    std::vector<std::string> names;
    for (const auto& name : certificate.names)
        names.push_back(http::quote_name(name));
    auto text = fmt::format("{}", fmt::join(names, ", "));
    if (certificate.name_count > names.size())
        text += fmt::format(" and {} more", certificate.name_count - names.size());
    return text;
}

/// Whether a wildcard of the certificate fails to match only because of a '_' in the wanted name.
bool is_beyond_wildcard(const Refusal& refusal)
{
    const auto label = refusal.wanted.substr(0, refusal.wanted.find('.'));
    const auto& names = refusal.certificate.names;
    return label.find('_') != label.npos
           && std::find(names.begin(), names.end(), "*" + refusal.wanted.substr(label.size()))
                  != names.end();
}

std::string wrong_name(const Refusal& refusal)
{
    const auto& names = refusal.certificate.names;
    if (refusal.certificate.name_count == 0)
        return fmt::format("{} names no host or address (subjectAltName; a common name does not "
                           "count), so it is not for {}",
                           whose(refusal), http::quote_name(refusal.wanted));
    if (std::find(names.begin(), names.end(), refusal.wanted) != names.end())
        return fmt::format("the certificate is issued for {} as a name (dNSName), and not as an "
                           "address (iPAddress)",
                           http::quote_name(refusal.wanted));
    return fmt::format("the certificate is issued for {} instead of {}{}",
                       names_of(refusal.certificate), http::quote_name(refusal.wanted),
                       is_beyond_wildcard(refusal)
                           ? " (a wildcard matches letters, digits and hyphens, not for '_')"
                           : "");
}

struct RefusalText {
    int code;
    const char* text; ///< follows the name of the certificate
};
constexpr RefusalText refusal_texts[] = {
    {X509_V_ERR_INVALID_CA, "was used to issue another, and may not be (it is no authority)"},
    {X509_V_ERR_KEYUSAGE_NO_CERTSIGN,
     "was used to issue another, and may not be (it is no authority)"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED, "may not be so high in a chain"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, "has a signature that is not its issuer's"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, "has a key that is too weak"},
    {X509_V_ERR_CA_KEY_TOO_SMALL, "has a key that is too weak"},
    {X509_V_ERR_CA_MD_TOO_WEAK, "is signed with a digest that is too weak"},
    {X509_V_ERR_PERMITTED_VIOLATION,
     "is for a name that its authority may not issue certificates for"},
    {X509_V_ERR_EXCLUDED_VIOLATION,
     "is for a name that its authority may not issue certificates for"},
};

std::string wrong_purpose(const Refusal& refusal)
{
    const bool is_server = refusal.role == TlsRole::client; // the other end
    const auto* const kind = is_server ? "servers" : "clients";
    if (refusal.depth != 0)
        return fmt::format("may not issue certificates for {}", kind);
    const auto& facts = refusal.certificate;
    return fmt::format("is not meant for {} (its {}key usage)", kind,
                       (is_server ? facts.is_for_servers : facts.is_for_clients) ? ""
                                                                                 : "extended ");
}

/// Describes refusals that are not about dates, names or issuers.
std::string other_refusal(const Refusal& refusal)
{
    if (refusal.code == X509_V_ERR_CERT_CHAIN_TOO_LONG)
        return "the chain of certificates is too long";
    if (refusal.code == X509_V_ERR_INVALID_PURPOSE)
        return fmt::format("{} {}", whose(refusal), wrong_purpose(refusal));
    for (const auto& [code, text] : refusal_texts)
        if (code == refusal.code)
            return fmt::format("{} {}", whose(refusal), text);
    return fmt::format("{} was refused: {}", whose(refusal),
                       X509_verify_cert_error_string(refusal.code));
}

// --- handshakes

const char* offered_versions(TlsVersion minimum)
{
    return minimum == TlsVersion::tls_1_3 ? "TLS 1.3" : "TLS 1.2 and 1.3";
}

/// Returns the alert; -1: the fault is none.
int alert_of(const HandshakeFault& fault) noexcept
{
    const int alert = fault.reason - SSL_AD_REASON_OFFSET;
    return fault.is_ssl && alert >= 0 && alert < 256 ? alert : -1;
}

struct ClientFault {
    int reason;
    const char* text;
};
constexpr const char* no_signature =
    "the client accepts no signature that our certificate can make";
constexpr ClientFault client_faults[] = {
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client has no certificate, and needs one"},
    {SSL_R_NO_SHARED_CIPHER,
     "the client offers no cipher that this server and its certificate have"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "the client offers none of the application protocols of alpn"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "the client offers no group for the exchange of keys that this "
                                  "server has"},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, no_signature},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, no_signature},
};

bool is_about_version(int reason) noexcept
{
    constexpr int reasons[] = {SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_WRONG_SSL_VERSION,
                               SSL_R_WRONG_VERSION_NUMBER, SSL_R_UNKNOWN_PROTOCOL,
                               SSL_R_VERSION_TOO_LOW};
    return std::find(std::begin(reasons), std::end(reasons), reason) != std::end(reasons);
}

} // namespace

const boost::system::error_category& tls_category() noexcept
{
    static const Category category;
    return category;
}

error_code make_error_code(TlsEnd end) noexcept { return {static_cast<int>(end), tls_category()}; }

error_code alert_code(TlsEnd kind, int alert) noexcept
{
    return {static_cast<int>(kind) + alert, tls_category()};
}

std::string alert_text(int alert)
{
    const auto name = alert_name(alert);
    if (name.empty())
        return fmt::format("alert {}", alert);
    const auto* const found = find_alert(alert);
    const std::string_view meaning = found ? found->meaning : "";
    return fmt::format("alert {} ({}){}{}", name, alert, meaning.empty() ? "" : ": ", meaning);
}

bool is_verdict(int alert) noexcept
{
    const auto* const found = find_alert(alert);
    return found && found->is_verdict;
}

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
                           http::quote_name(refusal.certificate.subject), trusted(refusal));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return fmt::format("unknown issuer: {} was issued by {}, which is not in {} and which {} "
                           "did not send",
                           whose(refusal), http::quote_name(refusal.certificate.issuer),
                           trusted(refusal), other_end(refusal.role));
    default: return other_refusal(refusal);
    }
}

std::string describe(const HandshakeFault& fault)
{
    const auto* const versions = offered_versions(fault.minimum);
    const auto* const peer = other_end(fault.role);
    if (const int alert = alert_of(fault); alert >= 0)
        return fmt::format("{} refused the handshake with the {}{}", peer, alert_text(alert),
                           alert == SSL_AD_PROTOCOL_VERSION ? fmt::format(" ({})", versions) : "");
    if (fault.is_ssl && fault.reason == 0)
        return fmt::format(
            "{} ended the connection with close_notify in the middle of the handshake", peer);
    if (fault.is_ssl && is_about_version(fault.reason))
        return fmt::format("{} wants another protocol version than {}", peer, versions);
    if (fault.is_ssl && fault.reason == SSL_R_NO_PROTOCOLS_AVAILABLE)
        return fmt::format("this machine's settings of OpenSSL forbid {}", versions);
    if (fault.is_ssl && fault.role == TlsRole::server)
        for (const auto& [reason, text] : client_faults)
            if (reason == fault.reason)
                return text;
    return fmt::format("{}: {}",
                       fault.is_ssl && fault.role == TlsRole::server
                           ? "the client broke the handshake"
                           : "the handshake failed",
                       fault.reason_text);
}

std::string describe_early_end(TlsRole role, bool has_begun)
{
    return fmt::format("{} ended the connection {}", other_end(role),
                       has_begun                 ? "in the middle of the handshake"
                       : role == TlsRole::client ? "before it answered in the handshake"
                                                 : "before it began the handshake");
}

bool is_permanent(const HandshakeFault& fault) noexcept
{
    return fault.is_ssl
           && (is_verdict(alert_of(fault)) || is_about_version(fault.reason)
               || fault.reason == SSL_R_NO_PROTOCOLS_AVAILABLE);
}

// --- peers without TLS

bool can_be_tls(std::string_view first_bytes) noexcept
{
    // change_cipher_spec, alert, handshake, application_data; then the version, 3.x
    if (!first_bytes.empty() && (first_bytes[0] < 20 || first_bytes[0] > 23))
        return false;
    return first_bytes.size() < 2 || first_bytes[1] == 3;
}

bool can_be_http(std::string_view first_bytes, TlsRole role) noexcept
{
    constexpr std::string_view answer[] = {"HTTP/"};
    constexpr std::string_view requests[] = {"GET ",     "HEAD ",   "POST ",  "PUT ", "OPTIONS ",
                                             "CONNECT ", "DELETE ", "PATCH ", "PRI "};
    const auto begins = [&](std::string_view text) {
        const auto common = std::min(text.size(), first_bytes.size());
        return common != 0 && first_bytes.substr(0, common) == text.substr(0, common);
    };
    return role == TlsRole::client ? std::any_of(std::begin(answer), std::end(answer), begins)
                                   : std::any_of(std::begin(requests), std::end(requests), begins);
}

std::string_view http_method_of(std::string_view first_bytes) noexcept
{
    const auto size = first_bytes.find(' ');
    return size != first_bytes.npos && can_be_http(first_bytes, TlsRole::server)
               ? first_bytes.substr(0, size)
               : std::string_view{};
}

std::string describe_not_tls(std::string_view first_bytes, TlsRole role)
{
    constexpr std::size_t server_bytes = 32, client_bytes = 8;
    const auto* const peer = other_end(role);
    if (role == TlsRole::client && first_bytes.starts_with("HTTP/"))
        return fmt::format(
            "{} speaks no TLS here: it answered plain HTTP, {}", peer,
            http::quote_name(first_bytes.substr(0, first_bytes.find_first_of("\r\n"))));
    if (const auto method = http_method_of(first_bytes); role == TlsRole::server && !method.empty())
        return fmt::format("{} speaks no TLS here: it sent a request in plain HTTP, {}", peer,
                           method);
    return fmt::format(
        "{} speaks no TLS here: it sent {}", peer,
        http::quote_name(first_bytes, role == TlsRole::client ? server_bytes : client_bytes));
}

std::uint16_t http_status_of(std::string_view first_bytes)
{
    http::HeadReader reader{first_bytes.size()};
    (void)reader.take(first_bytes);
    return static_cast<std::uint16_t>(reader.status_line().status);
}

Failure insecure(FailureDetails details, const std::string& endpoint)
{
    details.attempted = "secure the connection";
    details.endpoint = endpoint;
    return {Error::tls_failed, std::move(details)};
}

std::string utc_text(const std::tm& time)
{
    std::array<char, 64> text{};
    return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &time)};
}

} // namespace sidecar::stream
