// Which server of a cluster is tried next.
#include "nats/server_pool.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace server_pool_test {

using namespace sidecar::nats;
using Addresses = std::vector<std::string>;

Addresses all(const ServerPool& pool)
{
    const auto views = pool.addresses();
    return {views.begin(), views.end()};
}

Addresses sorted(Addresses addresses)
{
    std::sort(addresses.begin(), addresses.end());
    return addresses;
}

TEST_CASE("server pool: in the given order, one after the other, and the one just tried is last")
{
    ServerPool pool{{"a:1", "b:2", "c:3"}, ServerOrder::given, 0};
    for (const char* address : {"a:1", "b:2", "c:3", "a:1"})
        CHECK(pool.next() == address);
    CHECK(all(pool) == Addresses{"b:2", "c:3", "a:1"});
}

TEST_CASE("server pool: a seed gives one order, and seeds give each order")
{
    std::set<Addresses> orders;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        ServerPool pool{{"a:1", "b:2", "c:3"}, ServerOrder::random, seed};
        CHECK(all(pool) == all(ServerPool{{"a:1", "b:2", "c:3"}, ServerOrder::random, seed}));
        orders.insert(all(pool));
    }
    CHECK(orders.size() == 6);
}

TEST_CASE("server pool: no address is there twice, whatever its letters' case")
{
    ServerPool pool{{"a:1", "A:1", "b:2", "a:1"}, ServerOrder::given, 0};
    CHECK(all(pool) == Addresses{"a:1", "b:2"});
    pool.learn(Addresses{"B:2", "c:3", "C:3"});
    CHECK(sorted(all(pool)) == Addresses{"a:1", "b:2", "c:3"});
}

TEST_CASE("server pool: what is learnt comes before the server in use, in both orders")
{
    for (std::uint64_t seed = 0; seed < 50; ++seed)
        for (const auto order : {ServerOrder::given, ServerOrder::random}) {
            ServerPool pool{{"a:1", "b:2"}, order, seed};
            const auto used = pool.next();
            pool.learn(Addresses{"c:3", "d:4", "[::1]:5"});
            CHECK(pool.addresses().back() == used);
            CHECK(sorted(all(pool)) == Addresses{"[::1]:5", "a:1", "b:2", "c:3", "d:4"});
        }
    ServerPool pool{{"a:1", "b:2"}, ServerOrder::given, 0};
    (void)pool.next();
    pool.learn(Addresses{"c:3", "d:4"});
    CHECK(all(pool) == Addresses{"b:2", "c:3", "d:4", "a:1"});
}

TEST_CASE("server pool: a learnt server may come before the given ones")
{
    bool was_first = false;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        ServerPool pool{{"a:1", "b:2"}, ServerOrder::random, seed};
        (void)pool.next();
        pool.learn(Addresses{"c:3"});
        was_first |= pool.next() == "c:3";
    }
    CHECK(was_first);
}

TEST_CASE("server pool: a server that INFO names no longer goes, unless it was given")
{
    ServerPool pool{{"a:1"}, ServerOrder::given, 0};
    (void)pool.next();
    pool.learn(Addresses{"a:1", "b:2", "c:3"});
    pool.learn(Addresses{"c:3", "d:4"});
    CHECK(all(pool) == Addresses{"c:3", "d:4", "a:1"});
    pool.learn({}); // from a server without a cluster
    CHECK(all(pool) == Addresses{"c:3", "d:4", "a:1"});
}

TEST_CASE("server pool: a learnt server that leaves (lame duck mode) is not tried again")
{
    ServerPool pool{{"a:1"}, ServerOrder::given, 0};
    (void)pool.next();
    pool.learn(Addresses{"b:2", "c:3"});
    REQUIRE(pool.next() == "b:2");
    pool.learn(Addresses{"a:1", "c:3"}); // from b:2, with ldm
    for (int i = 0; i < 6; ++i)
        CHECK(pool.next() != "b:2");
}

TEST_CASE("server pool: a given server that leaves is tried when all others have failed")
{
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        ServerPool pool{{"a:1", "b:2", "c:3"}, ServerOrder::random, seed};
        const auto leaving = pool.next();
        pool.learn(Addresses{"d:4"});
        for (int i = 0; i < 3; ++i)
            CHECK(pool.next() != leaving);
        CHECK(pool.next() == leaving);
    }
}

TEST_CASE("server pool: ignores what is no address")
{
    ServerPool pool{{"a:1"}, ServerOrder::given, 0};
    for (const std::string& bad :
         {std::string{}, std::string{"b"}, std::string{"b:"}, std::string{":2"}, std::string{"b:0"},
          std::string{"b:65536"}, std::string{"b:x"}, std::string{"user@b:2"}, std::string{"b:2/x"},
          std::string{"b:2?x"}, std::string{"b:2#x"}, std::string{"nats://b:2"},
          std::string{"b c:2"}, std::string{"b\r\n:2"}, std::string{"b\0:2", 5},
          std::string{"::1:2"}, std::string{"[::1:2"}}) {
        CAPTURE(bad);
        pool.learn(Addresses{bad});
        CHECK(all(pool) == Addresses{"a:1"});
    }
}

TEST_CASE("server pool: is bounded, and keeps all that were given")
{
    Addresses many;
    for (int i = 0; i < 1000; ++i)
        many.push_back("host" + std::to_string(i) + ":4222");
    ServerPool pool{{"a:1", "b:2"}, ServerOrder::random, 7};
    pool.learn(many);
    CHECK(pool.addresses().size() == ServerPool::max_servers);
    const auto kept = all(pool);
    for (const char* given : {"a:1", "b:2"})
        CHECK(std::count(kept.begin(), kept.end(), given) == 1);
    CHECK(ServerPool{many, ServerOrder::given, 0}.addresses().size() == many.size());
}

} // namespace server_pool_test
