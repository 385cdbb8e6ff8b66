#include "error.hpp"

#include <fmt/format.h>

namespace sidecar::stream {
namespace {

struct Alert {
    int number;
    const char* name;
    const char* meaning;
};

// RFC 8446 section 6.2, and those of RFC 5246 and RFC 6066 that are still sent.
constexpr Alert alerts[] = {
    {0, "close_notify", ""},
    {10, "unexpected_message", ""},
    {20, "bad_record_mac", ""},
    {21, "decryption_failed", ""},
    {22, "record_overflow", ""},
    {30, "decompression_failure", ""},
    {40, "handshake_failure",
     "it accepts none of what was offered, or demands a client certificate"},
    {41, "no_certificate", "it demands a client certificate"},
    {42, "bad_certificate", "it refuses our certificate"},
    {43, "unsupported_certificate", "it refuses our certificate"},
    {44, "certificate_revoked", "it refuses our certificate"},
    {45, "certificate_expired", "it refuses our certificate"},
    {46, "certificate_unknown", "it refuses our certificate"},
    {47, "illegal_parameter", ""},
    {48, "unknown_ca", "it does not trust who issued our certificate"},
    {49, "access_denied", "it knows our certificate, and lets us not in"},
    {50, "decode_error", ""},
    {51, "decrypt_error", ""},
    {60, "export_restriction", ""},
    {70, "protocol_version", "it speaks none of the versions that were offered"},
    {71, "insufficient_security", "it demands stronger ciphers than were offered"},
    {80, "internal_error", "it has trouble of its own"},
    {86, "inappropriate_fallback", ""},
    {90, "user_canceled", ""},
    {100, "no_renegotiation", ""},
    {109, "missing_extension", ""},
    {110, "unsupported_extension", ""},
    {111, "certificate_unobtainable", ""},
    {112, "unrecognized_name", "it has no host of the name that was asked for"},
    {113, "bad_certificate_status_response", ""},
    {114, "bad_certificate_hash_value", ""},
    {115, "unknown_psk_identity", ""},
    {116, "certificate_required", "it demands a client certificate"},
    {120, "no_application_protocol", "it speaks none of the application protocols offered"},
};

const Alert* find_alert(int number) noexcept
{
    for (const auto& alert : alerts)
        if (alert.number == number)
            return &alert;
    return nullptr;
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
        default: return "TLS failed on our side";
        }
    }
};

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

std::string_view alert_name(int alert) noexcept
{
    const auto* found = find_alert(alert);
    return found ? found->name : "";
}

std::string_view alert_meaning(int alert) noexcept
{
    const auto* found = find_alert(alert);
    return found ? found->meaning : "";
}

std::string alert_text(int alert)
{
    const auto name = alert_name(alert), meaning = alert_meaning(alert);
    auto text =
        name.empty() ? fmt::format("alert {}", alert) : fmt::format("alert {} ({})", name, alert);
    if (!meaning.empty())
        text += fmt::format(": {}", meaning);
    return text;
}

std::optional<Failure> tls_refusal(error_code ec, const std::string& endpoint)
{
    if (ec.category() != tls_category() || ec.value() < static_cast<int>(TlsEnd::refusal))
        return std::nullopt;
    return Failure{Error::tls_failed,
                   {.attempted = "secure the connection",
                    .endpoint = endpoint,
                    .explanation = "the peer refused the handshake with the "
                                   + alert_text(ec.value() % 1000)}};
}

} // namespace sidecar::stream
