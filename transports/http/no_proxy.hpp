// Which hosts go past the proxy: the variable no_proxy. Without I/O.
#pragma once

#include <cstdint>
#include <string_view>

namespace sidecar::http {

/// Whether the list exempts this host. Its entries stand between commas or spaces:
///  - `*`: every host;
///  - a name, with or without a leading `.` or `*.`: that name and all below it, ignoring case;
///  - an address, IPv4 or IPv6, with brackets or without;
///  - a network, `192.0.2.0/24`, `2001:db8::/32`;
///  - any but the first and the last with `:port`: that port only (an IPv6 address in brackets).
/// An entry that is none of these exempts nothing. Names are never looked up: networks exempt
/// addresses that stand in the URL. `host` is as the resolver wants it.
[[nodiscard]] bool is_exempt(std::string_view no_proxy, std::string_view host, std::uint16_t port);

} // namespace sidecar::http
