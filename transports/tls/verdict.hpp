// Why a TLS handshake failed, in words. Private to the transports; pure: no I/O and no clock.
#pragma once

#include <sidecar/transports/tls_options.hpp>

#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::stream {

/// What is told of a certificate. The texts are a stranger's bytes; describe() makes them printable.
struct CertificateFacts {
    std::string subject{}; ///< its common name, or what else names it
    std::string issuer{};
    std::vector<std::string> names{}; ///< the first few that it is for
    std::size_t name_count = 0;       ///< how many there are
    std::string not_before{};         ///< as utc_text() has it
    std::string not_after{};
};

/// How many of a certificate's names are told.
inline constexpr std::size_t most_names_told = 4;

/// A certificate that was refused.
struct Refusal {
    int code = 0;  ///< X509_V_ERR_...
    int depth = 0; ///< of the certificate at fault: 0 is the peer's own
    CertificateFacts certificate{};
    std::string wanted{}; ///< whom the connection is to
    bool is_system_trust = true;
    std::string now{};       ///< this machine's time
    std::string code_text{}; ///< OpenSSL's words, for codes that have none of ours
};
[[nodiscard]] std::string describe(const Refusal& refusal);

/// What else ended a handshake: a reason of OpenSSL's ssl library (SSL_R_...), or another's.
struct HandshakeFault {
    bool is_ssl = true;
    int reason = 0;
    std::string reason_text{}; ///< OpenSSL's words
    TlsVersion minimum = TlsVersion::tls_1_2;
};
[[nodiscard]] std::string describe(const HandshakeFault& fault);

/// Whether these can be the first bytes of a TLS server's answer. What is too short can be.
[[nodiscard]] bool can_be_tls(std::string_view first_bytes) noexcept;
/// It begins like an answer of HTTP, whose first line is worth waiting for.
[[nodiscard]] bool can_be_http(std::string_view first_bytes) noexcept;
/// What the peer speaks instead.
[[nodiscard]] std::string describe_not_tls(std::string_view first_bytes);

/// "2026-11-26 08:00:00 UTC".
[[nodiscard]] std::string utc_text(const std::tm& time);
/// In quotes, printable ASCII as it is and the rest escaped, at most so many bytes of it.
[[nodiscard]] std::string quoted(std::string_view bytes, std::size_t most_bytes = 64);

} // namespace sidecar::stream
