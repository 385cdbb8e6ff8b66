#include "record_ring.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <random>
#include <string>
#include <thread>

using namespace sidecar;
using detail::RecordRing;

namespace {

bool push(RecordRing& ring, std::string_view text)
{
    const bool pushed = ring.push(LinkId{0}, MessageKind::text, std::as_bytes(std::span{text}));
    ring.publish();
    return pushed;
}

std::string pop(RecordRing& ring)
{
    const std::string text{ring.view(ring.settle(ring.read_position())).text()};
    ring.pop();
    ring.publish_reads();
    return text;
}

} // namespace

TEST_CASE("RecordRing: gives back what was pushed, in order, over many turns of the ring and with large messages")
{
    RecordRing ring{{.bytes = 4096, .messages = 20}};
    std::deque<std::string> expected;
    std::mt19937 random{7};
    std::size_t refused = 0;
    for (int i = 0; i < 20'000; ++i) {
        if (random() % 2 == 0) {
            const std::string text(random() % 50 == 0 ? 300 + random() % 1500 : random() % 120, static_cast<char>('a' + i % 26));
            if (push(ring, text))
                expected.push_back(text);
            else
                ++refused;
        } else if (!expected.empty()) {
            REQUIRE(pop(ring) == expected.front());
            expected.pop_front();
        }
        REQUIRE(ring.pushed() - ring.popped() == expected.size());
    }
    CHECK(refused != 0);
    CHECK(ring.peak_messages() <= 20);
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

TEST_CASE("RecordRing: take() moves a large message's block out; what is left is freed with the ring")
{
    RecordRing ring{{.bytes = 4096, .messages = 10}};
    const std::string large(1000, 'L');
    REQUIRE(push(ring, large));
    REQUIRE(push(ring, large));
    const auto at = ring.settle(ring.read_position());
    const auto* block = ring.view(at).data.data();
    const auto message = ring.take(at);
    ring.pop();
    CHECK(message.bytes().data() == block);
    CHECK(message.text() == large);
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
