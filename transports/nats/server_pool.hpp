// The servers of a cluster, and which one is tried next. Without I/O. Private to NATS.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::nats {

/// The order of the servers.
enum class ServerOrder : std::uint8_t {
    random, ///< drawn from the seed, so that clients spread over the cluster
    given,  ///< as given; the learnt ones follow
};

/// Knows the addresses that the options give and those that servers name in INFO. Addresses are
/// "host:port", with brackets around an IPv6 address. Invariant: no address is there twice; the
/// address that next() returned last is the last in the order.
class ServerPool {
public:
    /// The pool learns no further address when it has so many.
    static constexpr std::size_t max_servers = 64;

    /// `given`: at least one.
    ServerPool(const std::vector<std::string>& given, ServerOrder order, std::uint64_t seed);

    /// Returns the address for the next attempt and makes it the last. So a server that was lost,
    /// that refused or that is in lame duck mode is tried again when all others have failed.
    [[nodiscard]] const std::string& next();

    /// Replaces what was learnt by the `connect_urls` of an INFO. Ignores malformed ones, and an
    /// empty list: a server without a cluster sends none.
    void learn(std::span<const std::string> connect_urls);

    /// Returns all addresses, the next one first. Lifetime: until the next call of another function.
    [[nodiscard]] std::vector<std::string_view> addresses() const;

private:
    struct Server {
        std::string address;
        bool is_given;
    };

    [[nodiscard]] bool has(const std::string& address) const;

    std::vector<Server> servers_; // sidecar side; the next one first
    ServerOrder order_;           // sidecar side
    std::uint64_t random_;        // sidecar side; the state of the generator
};

/// Returns a random number, from the system.
[[nodiscard]] std::uint64_t draw_seed();

/// The pool of all links with the same options. Another list of given servers, or another order,
/// begins a new one. Side: any thread, guarded by its mutex.
class Cluster {
public:
    /// Returns the server to try next, and how many there are.
    [[nodiscard]] std::pair<std::string, std::size_t> next(const std::vector<std::string>& given,
                                                           ServerOrder order);
    /// Learns the `connect_urls` of an INFO. Returns how many servers there are.
    std::size_t learn(const std::vector<std::string>& given, ServerOrder order,
                      std::span<const std::string> connect_urls);

private:
    [[nodiscard]] ServerPool& pool_of(const std::vector<std::string>& given, ServerOrder order);

    std::mutex mutex_;
    std::optional<ServerPool> pool_; // both: guarded by mutex_
    std::vector<std::string> given_; // both: guarded by mutex_
    ServerOrder order_{};            // both: guarded by mutex_
};

} // namespace sidecar::nats
