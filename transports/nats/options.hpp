// The options of Nats: its URLs, what they name, what is valid. Without I/O, but for the files of
// TLS. Private to the transport.
#pragma once

#include "connector.hpp"
#include "credentials.hpp"
#include "protocol.hpp"

#include <sidecar/transports/nats.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::nats {

/// The parts of the URLs.
struct Urls {
    std::vector<std::string> addresses{}; ///< "host:port", with brackets around an IPv6 address
    std::string host{};                   ///< of the first one, without brackets
    bool is_secure = false;               ///< one of them is tls://
    std::string subject{};
    Credentials credentials{}; ///< user and password, or the token
    [[nodiscard]] bool has_login() const noexcept
    {
        return !credentials.user.empty() || !credentials.token.empty();
    }
};
/// Errors: bad_address; the explanation shows no user information.
[[nodiscard]] Result<Urls> parse_urls(std::string_view urls);

/// Returns the options' way to log in: theirs or that of the URL.
[[nodiscard]] Credentials credentials_of(const Nats::Options& options, const Urls& urls);

/// Returns the subject of messages without a topic; empty: none.
[[nodiscard]] std::string_view subject_of(const Nats::Options& options, const Urls& urls) noexcept;

/// Returns the destination "host:port". With Nats::Options::tls_first it has TLS.
[[nodiscard]] stream::Target target_of(const Nats::Options& options, const Urls& urls,
                                       const std::string& address);

/// Whether "host:port" has a name in place of an address.
[[nodiscard]] bool has_name(std::string_view address);

/// Returns the line CONNECT, the answer to this INFO. Throws Exception: those of connect_fields().
[[nodiscard]] std::string connect_line(const Nats::Options& options, const Urls& urls,
                                       const ServerInfo& info);

/// See Nats::check().
[[nodiscard]] Result<void> validate(const Nats::Options& options);
/// See Nats::check_send().
[[nodiscard]] Result<void> validate_send(const Nats::Options& options, const MessageView& message);

} // namespace sidecar::nats
