// The way through a proxy: CONNECT, RFC 9110 section 9.3.6, without any I/O.
#pragma once

#include "answer.hpp"
#include "proxy.hpp"

#include <sidecar/error.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar::http {

/// Makes the request and judges the proxy's answer. The owner of the stream writes request(), then
/// passes the bytes that it reads to take() until that returns a verdict. The verdict comes as soon as
/// the bytes allow it, and is the same however they were cut, but for how much of a refusal's body is
/// quoted. Owned by the connector for the time of the tunnelling; sidecar side. Invariant: memory and
/// time are bounded by `max_head_bytes`, whatever the proxy sends.
class TunnelHandshake {
public:
    /// No longer head is taken, and no more in interim answers; bytes.
    static constexpr std::size_t max_head_bytes = 64u << 10;

    /// `host` and `port` are where the tunnel is to lead, `host` as the resolver wants it;
    /// `endpoint` is what failures call it.
    TunnelHandshake(const Proxy& proxy, std::string_view host, std::uint16_t port,
                    std::string endpoint);

    [[nodiscard]] const std::string& request() const noexcept { return request_; }
    /// Takes in more of the answer. Nothing: all of it was taken, and more is needed. A value: the
    /// tunnel is open, and so many of the bytes belonged to the answer; what follows came through
    /// the tunnel. Not to be called again after a verdict. Errors: connect_failed.
    [[nodiscard]] std::optional<Result<std::size_t>> take(std::span<const std::byte> bytes);
    /// What the end of the stream means before there is a verdict; `cause` if it did not end in
    /// order. Errors: connect_failed, cancelled.
    [[nodiscard]] Failure ended(error_code cause = {}) const;

private:
    [[nodiscard]] std::string attempted() const;
    [[nodiscard]] Failure failure(std::string why, FailureDetails details = {}) const;
    [[nodiscard]] Failure refused(std::string_view body) const;

    const std::string shown_proxy_;     // sidecar side
    const std::string endpoint_;        // sidecar side; masked
    Secrets secrets_{};                 // sidecar side
    std::string request_{};             // sidecar side
    HeadReader reader_{max_head_bytes}; // sidecar side
};

} // namespace sidecar::http
