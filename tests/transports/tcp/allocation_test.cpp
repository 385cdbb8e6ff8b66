// How often a burst of small messages asks for memory. A program of its own, because it replaces
// operator new.
#include "support/quiet.hpp"
#include "support/raw_peer.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <latch>
#include <new>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

std::atomic<std::size_t> allocation_count{0};

} // namespace

void* operator new(std::size_t bytes)
{
    allocation_count.fetch_add(1, std::memory_order_relaxed);
    if (void* const block = std::malloc(bytes))
        return block;
    throw std::bad_alloc{};
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }

namespace {

constexpr std::size_t count = 100'000;
const std::string message = std::string("\0\0\0\x40", 4) + std::string(64, 'x');

} // namespace

TEST_CASE("allocations: a burst of small messages is taken in without one per message")
{
    std::string burst;
    for (std::size_t i = 0; i < count; ++i)
        burst += message;
    std::latch begin{1};
    RawPeer peer{[&](RawConnection& c) {
        begin.wait();
        c.send(burst);
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(feed.start(10s));
    begin.count_down();
    const auto before = allocation_count.load();
    std::size_t seen = 0;
    while (seen < count) {
        const auto first = feed.receive(10s);
        if (!first)
            break;
        seen += 1 + feed.poll([](const MessageView&) {}).value();
    }
    const auto allocations = allocation_count.load() - before;
    REQUIRE(seen == count);
    MESSAGE(allocations, " allocations for ", count, " messages in ", feed.stats().reads, " reads");
    CHECK(allocations < 1000);
}

TEST_CASE("allocations: a burst of small messages goes out without one per message")
{
    RawPeer peer{[](RawConnection& c) {
        std::string bytes(1 << 16, '\0');
        for (std::size_t left = count * message.size(); left != 0;)
            left -= c.read_some(bytes.data(), bytes.size());
        c.wait_for_end();
    }};
    Sidecar<Tcp<LengthPrefix>> feed{{.host = "127.0.0.1", .port = peer.port()}, quiet()};
    REQUIRE(feed.start(10s));
    const std::string_view payload = std::string_view{message}.substr(4);
    const auto before = allocation_count.load();
    bool is_sent = true;
    for (std::size_t i = 0; i < count && is_sent; ++i)
        is_sent = feed.send(payload, 10s).has_value();
    REQUIRE(is_sent);
    REQUIRE(feed.flush(10s));
    const auto allocations = allocation_count.load() - before;
    const auto stats = feed.stats();
    MESSAGE(allocations, " allocations for ", count, " messages in ", stats.writes, " writes, ",
            stats.loop_wakeups, " wake-ups");
    // Each wake-up of the loop, and each write of a batch, may cost a few.
    CHECK(allocations < 1000 + 10 * (stats.writes + stats.loop_wakeups));
}
