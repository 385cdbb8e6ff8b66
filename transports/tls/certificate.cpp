#include "certificate.hpp"

#include <boost/asio/ip/address.hpp>
#include <openssl/asn1.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>

namespace sidecar::stream {
namespace {

/// Little more than is told, so that one sees that it was cut.
constexpr std::size_t most_text_bytes = 80;

std::string text_of(const ASN1_STRING* string)
{
    const auto size = static_cast<std::size_t>(std::max(ASN1_STRING_length(string), 0));
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
            std::min(size, most_text_bytes)};
}

/// Its common name, or else the first thing that it says.
std::string name_of(const X509_NAME* name)
{
    if (X509_NAME_entry_count(name) == 0)
        return {};
    const int common = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, std::max(common, 0))));
}

std::string address_text(const ASN1_OCTET_STRING* address)
{
    namespace ip = boost::asio::ip;
    const auto* data = ASN1_STRING_get0_data(address);
    if (ASN1_STRING_length(address) == 4) {
        ip::address_v4::bytes_type bytes;
        std::copy_n(data, bytes.size(), bytes.begin());
        return ip::address_v4{bytes}.to_string();
    }
    if (ASN1_STRING_length(address) == 16) {
        ip::address_v6::bytes_type bytes;
        std::copy_n(data, bytes.size(), bytes.begin());
        return ip::address_v6{bytes}.to_string();
    }
    return "a malformed address";
}

void add_names(CertificateFacts& facts, const X509* certificate)
{
    const GeneralNamesPtr names{static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const auto* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_DNS && name->type != GEN_IPADD)
            continue;
        if (facts.name_count++ < most_names_told)
            facts.names.push_back(name->type == GEN_DNS ? text_of(name->d.dNSName)
                                                        : address_text(name->d.iPAddress));
    }
}

std::string date_text(const ASN1_TIME* time)
{
    std::tm tm{};
    return ASN1_TIME_to_tm(time, &tm) == 1 ? utc_text(tm) : "a malformed date";
}

} // namespace

CertificateFacts facts_of(const X509* certificate)
{
    CertificateFacts facts;
    facts.subject = name_of(X509_get_subject_name(certificate));
    facts.issuer = name_of(X509_get_issuer_name(certificate));
    facts.not_before = date_text(X509_get0_notBefore(certificate));
    facts.not_after = date_text(X509_get0_notAfter(certificate));
    add_names(facts, certificate);
    if (facts.subject.empty() && !facts.names.empty())
        facts.subject = facts.names.front();
    ERR_clear_error();
    return facts;
}

std::string utc_now()
{
    const auto now = std::time(nullptr);
    std::tm tm{};
    ::gmtime_r(&now, &tm);
    return utc_text(tm);
}

} // namespace sidecar::stream
