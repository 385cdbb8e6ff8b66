#include "server_pool.hpp"

#include "uri.hpp"

#include <sidecar/detail/random.hpp>

#include <algorithm>
#include <random>
#include <utility>

namespace sidecar::nats {
namespace {

bool is_address(const std::string& text)
{
    if (!std::all_of(text.begin(), text.end(), http::is_visible))
        return false;
    const auto url = "nats://" + text;
    const auto parts = http::split(url);
    return !parts.user_info && parts.port && http::parse_port(*parts.port) && parts.path.empty()
           && !parts.query && !parts.fragment && http::parse_host(parts.host);
}

} // namespace

ServerPool::ServerPool(const std::vector<std::string>& given, ServerOrder order, std::uint64_t seed)
    : order_{order}, random_{seed}
{
    for (const auto& text : given) {
        auto address = http::lower(text);
        if (!has(address))
            servers_.push_back({std::move(address), true});
    }
    if (order_ == ServerOrder::random)
        for (auto end = servers_.size(); end > 1; --end)
            std::swap(servers_[end - 1], servers_[detail::next_random(random_) % end]);
}

bool ServerPool::has(const std::string& address) const
{
    return std::any_of(servers_.begin(), servers_.end(),
                       [&](const Server& server) { return server.address == address; });
}

const std::string& ServerPool::next()
{
    std::rotate(servers_.begin(), servers_.begin() + 1, servers_.end());
    return servers_.back().address;
}

void ServerPool::learn(std::span<const std::string> connect_urls)
{
    if (connect_urls.empty())
        return;
    std::vector<std::string> named;
    for (const auto& text : connect_urls)
        if (is_address(text))
            named.push_back(http::lower(text));
    std::erase_if(servers_, [&](const Server& server) {
        return !server.is_given
               && std::find(named.begin(), named.end(), server.address) == named.end();
    });
    for (auto& address : named) {
        if (servers_.size() >= max_servers)
            return;
        if (has(address))
            continue;
        // In front of the last, which is the one in use
        const auto places = servers_.size();
        const auto at =
            order_ == ServerOrder::random ? detail::next_random(random_) % places : places - 1;
        servers_.insert(servers_.begin() + static_cast<std::ptrdiff_t>(at),
                        {std::move(address), false});
    }
}

std::vector<std::string_view> ServerPool::addresses() const
{
    std::vector<std::string_view> all;
    for (const auto& server : servers_)
        all.push_back(server.address);
    return all;
}

std::uint64_t draw_seed()
{
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
}

ServerPool& Cluster::pool_of(const std::vector<std::string>& given, ServerOrder order)
{
    if (!pool_ || given_ != given || order_ != order) {
        pool_.emplace(given, order, draw_seed());
        given_ = given;
        order_ = order;
    }
    return *pool_;
}

std::pair<std::string, std::size_t> Cluster::next(const std::vector<std::string>& given,
                                                  ServerOrder order)
{
    const std::lock_guard lock{mutex_};
    auto& pool = pool_of(given, order);
    auto address = pool.next();
    return {std::move(address), pool.addresses().size()};
}

std::size_t Cluster::learn(const std::vector<std::string>& given, ServerOrder order,
                           std::span<const std::string> connect_urls)
{
    const std::lock_guard lock{mutex_};
    auto& pool = pool_of(given, order);
    pool.learn(connect_urls);
    return pool.addresses().size();
}

} // namespace sidecar::nats
