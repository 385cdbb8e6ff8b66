// Errors of a TLS connection: codes and texts. Private to TLS; no I/O and no clock.
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

/// Which end of the connection is ours.
enum class TlsRole : std::uint8_t { client, server };

/// Values of tls_category(). The peer's alert `n` is 1000 + n. It is 2000 + n if it refuses us
/// (is_verdict()) before any data arrived: with TLS 1.3 a server judges our certificate after our
/// handshake.
enum class TlsEnd {
    truncated = 1,     ///< ended without close_notify; perhaps cut by an attacker
    bad_record = 2,    ///< a record was changed on its way, or is malformed
    protocol = 3,      ///< any other violation by the peer
    local = 4,         ///< not the peer's fault
    renegotiation = 5, ///< the peer asked for it and closed when we declined
    alert = 1000,
    refusal = 2000,
};

[[nodiscard]] const boost::system::error_category& tls_category() noexcept;
[[nodiscard]] error_code make_error_code(TlsEnd end) noexcept;
[[nodiscard]] error_code alert_code(TlsEnd kind, int alert) noexcept;

/// Returns "alert certificate_required (116): it demands a client certificate".
[[nodiscard]] std::string alert_text(int alert);
/// Whether the alert refuses our certificate or protocol, so that another attempt ends alike.
[[nodiscard]] bool is_verdict(int alert) noexcept;

/// The facts about a certificate for texts. The strings are untrusted bytes; describe() escapes
/// them.
struct CertificateFacts {
    std::string subject{}; ///< the common name, or the first entry of its name
    std::string issuer{};
    std::vector<std::string> names{}; ///< the first max_names of its names
    std::size_t name_count = 0;       ///< the number of all its names
    std::string not_before{};         ///< in the form of utc_text()
    std::string not_after{};
    bool is_for_servers = true; ///< by its extended key usage; its key usage may forbid it
    bool is_for_clients = true; ///< likewise
};
inline constexpr std::size_t max_names = 4;

/// A refused certificate.
struct Refusal {
    int code = 0;  ///< X509_V_ERR_...
    int depth = 0; ///< of the certificate at fault: 0 is the peer's
    CertificateFacts certificate{};
    std::string wanted{}; ///< the name or address that was connected to
    bool is_system_trust = true;
    std::string now{};              ///< this machine's time
    TlsRole role = TlsRole::client; ///< ours
};
[[nodiscard]] std::string describe(const Refusal& refusal);

/// Any other end of a handshake.
struct HandshakeFault {
    bool is_ssl = true;        ///< `reason` is from OpenSSL's ssl library (SSL_R_...)
    int reason = 0;            ///< 0: the peer sent close_notify
    std::string reason_text{}; ///< OpenSSL's text
    TlsVersion minimum = TlsVersion::tls_1_2;
    TlsRole role = TlsRole::client; ///< ours
};
[[nodiscard]] std::string describe(const HandshakeFault& fault);
/// Describes an end of the connection within the handshake. `has_begun`: the peer sent some of it.
[[nodiscard]] std::string describe_early_end(TlsRole role, bool has_begun);
/// Whether another attempt ends alike.
[[nodiscard]] bool is_permanent(const HandshakeFault& fault) noexcept;

/// Whether a peer's TLS can begin with these bytes; true if there are too few to know.
[[nodiscard]] bool can_be_tls(std::string_view first_bytes) noexcept;
/// Whether the bytes begin like HTTP, a server's answer or a client's request, so that its first
/// line, or its method, is worth waiting for.
[[nodiscard]] bool can_be_http(std::string_view first_bytes,
                               TlsRole role = TlsRole::client) noexcept;
/// Returns the method of a client's request in plain HTTP; empty: it is none, or not whole yet.
[[nodiscard]] std::string_view http_method_of(std::string_view first_bytes) noexcept;
/// Shows no more of a client's bytes than its protocol: the next ones may be a secret.
[[nodiscard]] std::string describe_not_tls(std::string_view first_bytes,
                                           TlsRole role = TlsRole::client);
/// Returns the status of a plain HTTP/1.x answer; 0: it is none.
[[nodiscard]] std::uint16_t http_status_of(std::string_view first_bytes);

/// Makes a tls_failed of a connection.
[[nodiscard]] Failure insecure(FailureDetails details, const std::string& endpoint);

/// Returns "2026-11-26 08:00:00 UTC".
[[nodiscard]] std::string utc_text(const std::tm& time);

} // namespace sidecar::stream
