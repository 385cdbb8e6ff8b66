// Decides which connections a listener admits. Without I/O, without a clock. Private to the
// transports.
#pragma once

#include <sidecar/clock.hpp>

#include <boost/asio/ip/address.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

namespace sidecar::stream {

/// Whether a connection may become a client; if not, the limit that it met.
enum class Admission : std::uint8_t { admitted, too_many, too_many_of_address, too_fast };

/// Zero: no limit.
struct AdmissionLimits {
    std::size_t max_clients = 0;
    std::size_t max_clients_per_address = 0;
    double max_connections_per_second = 0; ///< one second's number may come at once
};

/// Identifies who connects: an IPv4 address, or the /64 network of an IPv6 address, since a host
/// can have any address of its network. An IPv4-mapped address counts as IPv4.
enum class AddressKey : std::uint64_t {};
[[nodiscard]] AddressKey key_of(const boost::asio::ip::address& address) noexcept;

/// Counts the clients of one listener. Side: the loop's thread.
class AdmissionControl {
public:
    /// The most refused connections that wait for their answer.
    static constexpr std::size_t max_refused = 64;

    explicit AdmissionControl(const AdmissionLimits& limits) noexcept;

    /// Admits the connection, or names the limit that refuses it; empty: refused, and too many
    /// refused ones already wait for their answer. The result counts until release(). An empty
    /// key (a Unix-domain socket) has no limit of its address. Throws bad_alloc; then it counts
    /// nothing.
    [[nodiscard]] std::optional<Admission> admit(std::optional<AddressKey> key, TimePoint now);
    void release(Admission admission, std::optional<AddressKey> key) noexcept;

private:
    [[nodiscard]] Admission decide(std::optional<AddressKey> key, TimePoint now) noexcept;
    [[nodiscard]] bool take_token(TimePoint now) noexcept;

    const AdmissionLimits limits_;                             // sidecar side
    std::size_t clients_ = 0;                                  // sidecar side
    std::size_t refused_ = 0;                                  // sidecar side; without their answer
    std::unordered_map<AddressKey, std::size_t> of_addresses_; // sidecar side; no zero
    double tokens_;                                            // sidecar side
    std::optional<TimePoint> filled_at_;                       // sidecar side
};

} // namespace sidecar::stream
