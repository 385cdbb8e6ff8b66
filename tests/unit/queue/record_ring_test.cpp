#include "queue/receive_buffers.hpp"
#include "queue/record_ring.hpp"
#include "support/footprint.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace record_ring_test {

using namespace sidecar;
using detail::RecordRing;

bool push(RecordRing& ring, std::string_view text)
{
    const bool pushed = ring.push(LinkId{0}, MessageKind::text, std::as_bytes(std::span{text}));
    ring.publish();
    return pushed;
}

std::string pop(RecordRing& ring)
{
    const std::string text{ring.front().text()};
    ring.pop();
    ring.publish_reads();
    return text;
}

TEST_CASE("RecordRing: gives back what was pushed, in order, over many turns of the ring and with "
          "large messages")
{
    RecordRing ring{{.bytes = 4096, .messages = 20}};
    std::deque<std::string> expected;
    std::mt19937 random{7};
    std::size_t refused = 0;
    for (int i = 0; i < 20'000; ++i) {
        if (random() % 2 == 0) {
            const std::string text(random() % 50 == 0 ? 300 + random() % 1500 : random() % 120,
                                   static_cast<char>('a' + i % 26));
            if (push(ring, text))
                expected.push_back(text);
            else
                ++refused;
        } else if (!expected.empty()) {
            REQUIRE(pop(ring) == expected.front());
            expected.pop_front();
        }
        REQUIRE(ring.counts().queued() == expected.size());
    }
    CHECK(refused != 0);
    CHECK(ring.counts().peak_messages <= 20);
}

TEST_CASE("RecordRing: holds exactly the allowed number of messages")
{
    RecordRing ring{{.bytes = 65536, .messages = 3}};
    CHECK(push(ring, "1"));
    CHECK(push(ring, "2"));
    CHECK(push(ring, ""));
    CHECK_FALSE(push(ring, "4"));
    CHECK(pop(ring) == "1");
    CHECK(push(ring, "4"));
}

TEST_CASE("RecordRing: never holds more payload bytes than its bound")
{
    RecordRing ring{{.bytes = 4096, .messages = 1000}};
    std::size_t held = 0;
    for (const std::size_t size : {200u, 900u, 100u, 900u})
        while (push(ring, std::string(size, 'x')))
            held += size;
    CHECK(held <= 4096);
    CHECK(held >= 2048);
    CHECK_FALSE(push(ring, std::string(4096, 'x')));
}

TEST_CASE("RecordRing: take_front_block() moves a large message's block out; what is left is freed "
          "with the ring")
{
    RecordRing ring{{.bytes = 4096, .messages = 10}};
    const std::string large(1000, 'L');
    REQUIRE(push(ring, large));
    REQUIRE(push(ring, large));
    const auto* where = ring.front().bytes().data();
    REQUIRE(ring.front_has_block());
    const auto block = ring.take_front_block();
    ring.pop();
    CHECK(block.get() == where);
    CHECK(std::memcmp(block.get(), large.data(), large.size()) == 0);
}

TEST_CASE("RecordRing: one thread pushes while another pops")
{
    RecordRing ring{{.bytes = 2048, .messages = 16}};
    constexpr std::uint64_t count = 50'000;
    std::thread producer{[&] {
        for (std::uint64_t i = 0; i < count; ++i)
            while (!push(ring, std::to_string(i)))
                std::this_thread::yield();
    }};
    bool in_order = true;
    for (std::uint64_t i = 0; i < count; ++i) {
        while (ring.read_position() >= ring.published())
            std::this_thread::yield();
        in_order &= pop(ring) == std::to_string(i);
    }
    producer.join();
    CHECK(in_order);
}

TEST_CASE(
    "RecordRing: where there is room for a message of some size, there is room for any smaller one")
{
    for (const std::size_t size : {1u, 100u, 1016u, 1024u, 3000u}) {
        RecordRing ring{{.bytes = 1u << 16, .messages = 1u << 20}};
        const std::vector<std::byte> payload(size);
        while (ring.has_space(1u << 14))
            REQUIRE(ring.push(LinkId{}, MessageKind::binary, payload));
    }
    // Also where the next record brings along that of a block to be freed.
    for (const std::size_t size : {100u, 1000u, 5000u}) {
        RecordRing ring{{.bytes = 1u << 18, .messages = 1u << 20}};
        detail::ReceiveBuffers memory{ring};
        const std::vector<std::byte> payload(size);
        for (int i = 0; ring.has_space(1u << 14); ++i) {
            const auto buffer = memory.buffer(size);
            REQUIRE((buffer.empty() || i % 3 == 0
                         ? ring.push(LinkId{}, MessageKind::binary, payload)
                         : memory.push(LinkId{}, MessageKind::binary, buffer.first(size))));
        }
    }
}

TEST_CASE("RecordRing: a limit of 0 messages is derived from the bytes")
{
    RecordRing ring{{.bytes = 4096}};
    std::size_t count = 0;
    while (push(ring, ""))
        ++count;
    CHECK(count == 64);
}

std::string numbered(std::uint64_t number)
{
    auto text = std::to_string(number);
    return text + std::string(20 + number % 400, static_cast<char>('a' + number % 26));
}

TEST_CASE("RecordRing: a large ring holds the memory of what is queued, not of a whole lap")
{
    RecordRing ring{{.bytes = 64u << 20}}; // a ring of 32 MiB
    std::uint64_t pushed = 0, popped = 0;
    const auto turn = [&](std::uint64_t count) {
        for (const auto until = pushed + count; pushed < until; ++pushed)
            REQUIRE(push(ring, numbered(pushed)));
        for (const auto until = popped + count; popped < until; ++popped)
            REQUIRE(pop(ring) == numbered(popped));
    };
    for (int i = 0; i < 100; ++i) // so that the allocator has what it needs
        REQUIRE(push(ring, numbered(pushed++)));
    turn(1000);
    const auto before = Footprint::now();
    for (int i = 0; i < 300; ++i) // about two laps
        turn(1000);
    if (!is_sanitized)
        CHECK(Footprint::now().resident_kib < before.resident_kib + (6u << 10));
    CHECK(ring.counts().queued() == 100);
}

TEST_CASE("RecordRing: a large ring that is full, nearly full and empty again loses no byte")
{
    RecordRing ring{{.bytes = 32u << 20}};
    std::uint64_t pushed = 0, popped = 0;
    std::mt19937 random{3};
    const auto fill = [&] {
        while (push(ring, numbered(pushed)))
            ++pushed;
    };
    const auto drain_to = [&](std::uint64_t left) {
        for (; pushed - popped > left; ++popped)
            REQUIRE(pop(ring) == numbered(popped));
    };
    for (int lap = 0; lap < 2; ++lap) {
        fill();
        const auto full = pushed - popped;
        CHECK(full > 10'000);
        for (int i = 0; i < 25; ++i) { // more than a lap, while it is nearly full
            drain_to(full - full / 20 - random() % 100);
            fill();
        }
        drain_to(random() % 3);
    }
}

TEST_CASE("RecordRing: one thread pushes into a large ring while another pops, over many laps")
{
    RecordRing ring{{.bytes = 32u << 20}};
    constexpr std::uint64_t count = 200'000;
    std::thread producer{[&] {
        for (std::uint64_t i = 0; i < count; ++i)
            while (!push(ring, numbered(i)))
                std::this_thread::yield();
    }};
    std::uint64_t wrong = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        while (ring.read_position() == ring.published())
            std::this_thread::yield();
        if (pop(ring) != numbered(i))
            ++wrong;
    }
    producer.join();
    CHECK(wrong == 0);
}

} // namespace record_ring_test
