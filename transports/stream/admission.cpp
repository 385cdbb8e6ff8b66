#include "admission.hpp"

#include <algorithm>
#include <chrono>

namespace sidecar::stream {

std::string_view option_of(Admission admission) noexcept
{
    switch (admission) {
    case Admission::admitted: break;
    case Admission::too_many: return "max_clients";
    case Admission::too_many_of_address: return "max_clients_per_address";
    case Admission::too_fast: return "max_connections_per_second";
    }
    return {};
}

AddressKey key_of(const boost::asio::ip::address& address) noexcept
{
    if (address.is_v4())
        return AddressKey{address.to_v4().to_uint()};
    const auto bytes = address.to_v6().to_bytes();
    std::uint64_t key = 0;
    if (address.to_v6().is_v4_mapped())
        for (std::size_t i = 12; i < 16; ++i)
            key = key << 8 | bytes.at(i);
    else
        for (std::size_t i = 0; i < 8; ++i)
            key = key << 8 | bytes.at(i);
    return AddressKey{key};
}

AdmissionControl::AdmissionControl(const AdmissionLimits& limits) noexcept
    : limits_{limits}, tokens_{std::max(1.0, limits.max_connections_per_second)}
{
}

std::optional<Admission> AdmissionControl::admit(std::optional<AddressKey> key, TimePoint now)
{
    const std::lock_guard lock{mutex_};
    const auto admission = decide(key, now);
    if (admission == Admission::admitted) {
        if (key)
            ++of_addresses_[*key];
        ++clients_;
    } else if (refused_ == max_refused) {
        return std::nullopt;
    } else {
        ++refused_;
    }
    return admission;
}

Admission AdmissionControl::decide(std::optional<AddressKey> key, TimePoint now) noexcept
{
    if (limits_.max_clients != 0 && clients_ >= limits_.max_clients)
        return Admission::too_many;
    const auto at = key ? of_addresses_.find(*key) : of_addresses_.end();
    if (limits_.max_clients_per_address != 0 && at != of_addresses_.end()
        && at->second >= limits_.max_clients_per_address)
        return Admission::too_many_of_address;
    return take_token(now) ? Admission::admitted : Admission::too_fast;
}

void AdmissionControl::release(Admission admission, std::optional<AddressKey> key) noexcept
{
    const std::lock_guard lock{mutex_};
    if (admission != Admission::admitted) {
        --refused_;
        return;
    }
    --clients_;
    const auto at = key ? of_addresses_.find(*key) : of_addresses_.end();
    if (at != of_addresses_.end() && --at->second == 0)
        of_addresses_.erase(at);
}

/// A bucket of one second's connections, at least one.
bool AdmissionControl::take_token(TimePoint now) noexcept
{
    const auto rate = limits_.max_connections_per_second;
    if (rate == 0)
        return true;
    const std::chrono::duration<double> passed = now - filled_at_.value_or(now);
    filled_at_ = now;
    tokens_ = std::min(std::max(1.0, rate), tokens_ + rate * passed.count());
    if (tokens_ < 1)
        return false;
    tokens_ -= 1;
    return true;
}

} // namespace sidecar::stream
