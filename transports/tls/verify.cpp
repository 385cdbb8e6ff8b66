#include "verify.hpp"

#include "context.hpp"
#include "uri.hpp"

#include <openssl/asn1.h>
#include <openssl/x509_vfy.h>

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>

namespace sidecar::stream {
namespace {

/// Bounds of a copy of a certificate, whose size the peer decides.
struct Limits {
    std::size_t names;
    std::size_t text_bytes;
};
/// A little more than texts show, so that they end in "...".
constexpr Limits for_texts{.names = max_names, .text_bytes = 80};
/// A DNS name has at most 253 bytes.
constexpr Limits for_application{.names = 100, .text_bytes = 256};

std::string text_of(const ASN1_STRING* string, const Limits& limits)
{
    const auto size = static_cast<std::size_t>(std::max(ASN1_STRING_length(string), 0));
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
            std::min(size, limits.text_bytes)};
}

/// Returns the common name, or else the first entry.
std::string name_of(const X509_NAME* name, const Limits& limits)
{
    if (X509_NAME_entry_count(name) == 0)
        return {};
    const int common = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, std::max(common, 0))),
                   limits);
}

std::string address_text(const ASN1_OCTET_STRING* address)
{
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int size = ASN1_STRING_length(address);
    if (size != 4 && size != 16)
        return "a malformed address";
    return ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text.data(),
                       text.size());
}

/// Adds the DNS names and addresses to `to`; returns how many there are.
std::size_t add_names(std::vector<std::string>& to, const X509* certificate, const Limits& limits)
{
    std::size_t count = 0;
    const GeneralNamesPtr names{static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const auto* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_DNS && name->type != GEN_IPADD)
            continue;
        if (count++ < limits.names)
            to.push_back(name->type == GEN_DNS ? text_of(name->d.dNSName, limits)
                                               : address_text(name->d.iPAddress));
    }
    return count;
}

std::string date_text(const ASN1_TIME* time)
{
    std::tm tm{};
    return ASN1_TIME_to_tm(time, &tm) == 1 ? utc_text(tm) : "a malformed date";
}

std::chrono::sys_seconds date_of(const ASN1_TIME* time)
{
    std::tm tm{};
    return std::chrono::sys_seconds{
        std::chrono::seconds{ASN1_TIME_to_tm(time, &tm) == 1 ? ::timegm(&tm) : 0}};
}

std::string utc_now()
{
    const auto now = std::time(nullptr);
    std::tm tm{};
    ::gmtime_r(&now, &tm);
    return utc_text(tm);
}

/// Whether the peer sent another certificate of the same name: `one` is cross-signed.
bool has_twin(X509* one, STACK_OF(X509) * sent)
{
    for (int i = 0; i < sk_X509_num(sent); ++i) {
        const auto* other = sk_X509_value(sent, i);
        if (X509_NAME_cmp(X509_get_subject_name(one), X509_get_subject_name(other)) == 0
            && X509_cmp(one, other) != 0)
            return true;
    }
    return false;
}

/// Removes from `sent` the highest cross-signed certificate of a chain that failed. False: there is
/// none.
bool remove_cross_signed(STACK_OF(X509) * sent, STACK_OF(X509) * chain)
{
    for (int i = sk_X509_num(chain); i-- > 1;) {
        auto* const one = sk_X509_value(chain, i);
        for (int at = sk_X509_num(sent); at-- > 0;)
            if (X509_cmp(sk_X509_value(sent, at), one) == 0 && has_twin(one, sent)) {
                (void)sk_X509_delete(sent, at);
                return true;
            }
    }
    return false;
}

/// Whether the chain verifies without a cross-signed certificate. OpenSSL tries one issuer for each
/// certificate, so it may fail although the peer sent another that leads to a trusted root. Each
/// round removes one certificate.
bool has_other_chain(X509_STORE_CTX* failed, X509_STORE* store)
{
    const CertificatesPtr sent{sk_X509_dup(X509_STORE_CTX_get0_untrusted(failed))};
    StoreContextPtr last;
    for (auto* at = failed; sent && remove_cross_signed(sent.get(), X509_STORE_CTX_get0_chain(at));
         at = last.get()) {
        StoreContextPtr next{X509_STORE_CTX_new()};
        if (!next
            || X509_STORE_CTX_init(next.get(), store, X509_STORE_CTX_get0_cert(failed), sent.get())
                   != 1
            || X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(next.get()),
                                      X509_STORE_CTX_get0_param(failed))
                   != 1)
            return false;
        if (X509_verify_cert(next.get()) == 1)
            return true;
        last = std::move(next);
    }
    return false;
}

bool is_about_issuer(int code)
{
    return code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
           || code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
           || code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN || code == X509_V_ERR_CERT_HAS_EXPIRED;
}

} // namespace

bool demand_name(SSL* ssl, const std::string& wanted)
{
    auto* const parameters = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
                                                    | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (const auto address = http::address_bytes(wanted); !address.empty())
        return X509_VERIFY_PARAM_set1_ip(parameters,
                                         reinterpret_cast<const unsigned char*>(address.data()),
                                         address.size())
               == 1;
    return wanted.empty()
           || (X509_VERIFY_PARAM_set1_host(parameters, wanted.data(), wanted.size()) == 1
               && SSL_set_tlsext_host_name(ssl, wanted.c_str()) == 1);
}

int verify_peer(X509_STORE_CTX* store, void*) noexcept
{
    auto* const ssl =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto& check = *static_cast<PeerCheck*>(SSL_get_app_data(ssl));
    if (check.context->options.insecure_skip_verification || X509_verify_cert(store) == 1)
        return 1;
    const int code = X509_STORE_CTX_get_error(store);
    if (is_about_issuer(code)
        && has_other_chain(store, SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)))) {
        X509_STORE_CTX_set_error(store, X509_V_OK);
        return 1;
    }
    try {
        auto& refusal = check.refusal.emplace();
        refusal.code = code;
        refusal.depth = X509_STORE_CTX_get_error_depth(store);
        if (const auto* certificate = X509_STORE_CTX_get_current_cert(store))
            refusal.certificate = facts_of(certificate);
        refusal.wanted = check.wanted;
        refusal.is_system_trust = check.context->is_system_trust();
        refusal.now = utc_now();
        refusal.role = check.context->role;
    } catch (const std::bad_alloc&) { // must not pass through OpenSSL, which is C
    }
    return 0;
}

std::optional<Refusal> judge_dates(const X509* certificate)
{
    const bool is_early = X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0;
    if (!is_early && X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0)
        return std::nullopt;
    return Refusal{.code = is_early ? X509_V_ERR_CERT_NOT_YET_VALID : X509_V_ERR_CERT_HAS_EXPIRED,
                   .certificate = facts_of(certificate),
                   .now = utc_now()};
}

CertificateFacts facts_of(const X509* certificate)
{
    CertificateFacts facts;
    facts.subject = name_of(X509_get_subject_name(certificate), for_texts);
    facts.issuer = name_of(X509_get_issuer_name(certificate), for_texts);
    facts.not_before = date_text(X509_get0_notBefore(certificate));
    facts.not_after = date_text(X509_get0_notAfter(certificate));
    // All bits are set if the extension is missing
    const auto usage = X509_get_extended_key_usage(const_cast<X509*>(certificate));
    facts.is_for_servers = (usage & XKU_SSL_SERVER) != 0;
    facts.is_for_clients = (usage & XKU_SSL_CLIENT) != 0;
    facts.name_count = add_names(facts.names, certificate, for_texts);
    if (facts.subject.empty() && !facts.names.empty())
        facts.subject = facts.names.front();
    ERR_clear_error();
    return facts;
}

CertificateInfo info_of(const X509* certificate)
{
    CertificateInfo info{
        .subject = name_of(X509_get_subject_name(certificate), for_application),
        .issuer = name_of(X509_get_issuer_name(certificate), for_application),
        .valid_from = date_of(X509_get0_notBefore(certificate)),
        .valid_until = date_of(X509_get0_notAfter(certificate)),
    };
    (void)add_names(info.names, certificate, for_application);
    ERR_clear_error();
    return info;
}

} // namespace sidecar::stream
