// What ends a TLS stream, as error codes; also where the library is built without TLS. Private to
// the transports.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace sidecar::stream {

/// Values of tls_category(), beside alerts: of the peer's alert `n` it is 1000 + n, and 2000 + n
/// where it came in place of the first byte, so that it refuses the handshake: with TLS 1.3 a server
/// judges our certificate when for us the handshake is done.
enum class TlsEnd {
    /// The connection ended without close_notify: whoever stands in between may have cut it.
    truncated = 1,
    bad_record = 2, ///< was changed on its way, or has no form
    protocol = 3,   ///< anything else that the peer must not do
    local = 4,      ///< not the peer's fault
    alert = 1000,
    refusal = 2000,
};

[[nodiscard]] const boost::system::error_category& tls_category() noexcept;
[[nodiscard]] SIDECAR_API error_code make_error_code(TlsEnd end) noexcept;
[[nodiscard]] error_code alert_code(TlsEnd kind, int alert) noexcept;

/// "handshake_failure" (RFC 8446 section 6); empty if there is none of this number.
[[nodiscard]] std::string_view alert_name(int alert) noexcept;
/// What the peer probably means by it; may be empty.
[[nodiscard]] std::string_view alert_meaning(int alert) noexcept;
/// "alert certificate_required (116): it demands a client certificate".
[[nodiscard]] std::string alert_text(int alert);

[[nodiscard]] inline bool is_truncated(error_code ec) noexcept
{
    return ec == make_error_code(TlsEnd::truncated);
}
/// Where the code says that the peer refused the handshake after all: the failure that tells it.
[[nodiscard]] SIDECAR_API std::optional<Failure> tls_refusal(error_code ec,
                                                             const std::string& endpoint);

} // namespace sidecar::stream
