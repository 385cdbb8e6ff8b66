// What ends a TLS connection, in codes and in words. Private to TLS; no I/O and no clock.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::stream {

/// Values of tls_category(). The peer's alert `n` is 1000 + n, and 2000 + n where it is a verdict in
/// place of the first byte: with TLS 1.3 a server judges our certificate after our handshake.
enum class TlsEnd {
    truncated = 1,     ///< the connection ended without close_notify; somebody may have cut it
    bad_record = 2,    ///< was changed on its way, or is malformed
    protocol = 3,      ///< anything else that the peer must not do
    local = 4,         ///< not the peer's fault
    renegotiation = 5, ///< the peer asked for it, and ended the connection when we declined
    alert = 1000,
    refusal = 2000,
};

[[nodiscard]] const boost::system::error_category& tls_category() noexcept;
[[nodiscard]] error_code make_error_code(TlsEnd end) noexcept;
[[nodiscard]] error_code alert_code(TlsEnd kind, int alert) noexcept;

/// "alert certificate_required (116): it demands a client certificate".
[[nodiscard]] std::string alert_text(int alert);
/// The alert names our certificate, or the protocol, so another attempt ends likewise.
[[nodiscard]] bool is_verdict(int alert) noexcept;

/// What texts say of a certificate. The strings are a stranger's bytes; describe() escapes them.
struct CertificateFacts {
    std::string subject{}; ///< its common name, or the first entry of its name
    std::string issuer{};
    std::vector<std::string> names{}; ///< the first max_names that it is for
    std::size_t name_count = 0;       ///< how many there are
    std::string not_before{};         ///< as utc_text() prints it
    std::string not_after{};
    bool is_for_servers = true; ///< its extended key usage allows it; its key usage may not
};
inline constexpr std::size_t max_names = 4;

/// A certificate that was refused.
struct Refusal {
    int code = 0;  ///< X509_V_ERR_...
    int depth = 0; ///< of the certificate at fault: 0 is the peer's own
    CertificateFacts certificate{};
    std::string wanted{}; ///< the name or address that was connected to
    bool is_system_trust = true;
    std::string now{}; ///< this machine's time
};
[[nodiscard]] std::string describe(const Refusal& refusal);

/// Everything else that ended a handshake.
struct HandshakeFault {
    bool is_ssl = true;        ///< `reason` is one of OpenSSL's ssl library (SSL_R_...)
    int reason = 0;            ///< 0: the peer ended it by close_notify
    std::string reason_text{}; ///< OpenSSL's words
    TlsVersion minimum = TlsVersion::tls_1_2;
};
[[nodiscard]] std::string describe(const HandshakeFault& fault);
/// Another attempt ends likewise.
[[nodiscard]] bool is_permanent(const HandshakeFault& fault) noexcept;

/// Whether these can be the first bytes of a TLS server's answer. Too few can be.
[[nodiscard]] bool can_be_tls(std::string_view first_bytes) noexcept;
/// Whether they begin like an answer of HTTP, whose first line is worth waiting for.
[[nodiscard]] bool can_be_http(std::string_view first_bytes) noexcept;
[[nodiscard]] std::string describe_not_tls(std::string_view first_bytes);
/// The status of an answer in plain HTTP/1.x; 0: it is none.
[[nodiscard]] std::uint16_t http_status_of(std::string_view first_bytes);

/// "2026-11-26 08:00:00 UTC".
[[nodiscard]] std::string utc_text(const std::tm& time);

} // namespace sidecar::stream
