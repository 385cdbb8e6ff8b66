#include "queue/receive_buffers.hpp"
#include "queue/record_ring.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <string>
#include <thread>

namespace receive_memory_test {

using namespace sidecar;
using detail::ReceiveBuffers;
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

/// What a transport does with the ring: receives a stream into it, and pushes the messages that
/// stand there.
class Receiver {
public:
    explicit Receiver(RecordRing& ring) : ring_{ring}, memory_{ring} {}

    /// Receives so many bytes, the next of the stream; false: the ring has no room to receive in.
    bool receive(std::size_t bytes)
    {
        const auto buffer = memory_.buffer(bytes);
        if (buffer.empty())
            return false;
        for (auto& byte : buffer.first(bytes))
            byte = static_cast<std::byte>(next_++);
        unread_ = buffer.first(bytes);
        return true;
    }
    [[nodiscard]] std::span<const std::byte> unread() const { return unread_; }
    /// Pushes the first of what was received.
    bool push(std::size_t bytes, std::size_t skipped = 0)
    {
        const auto message = unread_.subspan(skipped, bytes);
        if (!(memory_.is_slice(message) ? memory_.push(LinkId{1}, MessageKind::binary, message)
                                        : ring_.push(LinkId{1}, MessageKind::binary, message)))
            return false;
        unread_ = unread_.subspan(skipped + bytes);
        return true;
    }

private:
    RecordRing& ring_;
    ReceiveBuffers memory_;
    std::span<const std::byte> unread_;
    unsigned next_ = 0;
};

std::string_view text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE(
    "ReceiveBuffers: what is received in its memory stays there, and what comes next does not "
    "touch it")
{
    RecordRing ring{{.bytes = 1u << 20, .messages = 1000}};
    Receiver receiver{ring};
    REQUIRE(receiver.receive(1000));
    const auto* first = receiver.unread().data();
    const std::string expected{text_of(receiver.unread())};
    REQUIRE(receiver.push(400));
    REQUIRE(receiver.push(500, 4)); // the rest is given up: the next to receive gets that memory
    ring.publish();
    REQUIRE(receiver.receive(1000));
    CHECK(receiver.unread().data() == first + 904);

    CHECK(ring.front().bytes().data() == first);
    CHECK_FALSE(ring.front_has_block()); // who keeps the message copies it, and keeps no buffer
    CHECK(pop(ring) == expected.substr(0, 400));
    CHECK(ring.front().bytes().data() == first + 404);
    CHECK(pop(ring) == expected.substr(404, 500));
    CHECK(ring.counts().pushed_bytes == 900);
    CHECK(ring.counts().popped_bytes == 900);

    // All is read: the same memory serves again, from its beginning.
    REQUIRE(receiver.receive(1000));
    CHECK(receiver.unread().data() == first);
    CHECK(push(ring, std::string(64, 'c'))); // from elsewhere
    CHECK(pop(ring) == std::string(64, 'c'));
}

TEST_CASE("ReceiveBuffers: a queue too small for a buffer gives none, nor does one whose bound is "
          "reached, and it recovers")
{
    RecordRing tiny{{.bytes = 4096, .messages = 1000}};
    CHECK(ReceiveBuffers{tiny}.buffer(1).empty());

    RecordRing ring{{.bytes = 1u << 20, .messages = 1u << 16}};
    Receiver receiver{ring};
    constexpr std::size_t piece = 16u << 10;
    CHECK(ReceiveBuffers{ring}.buffer((1u << 20) + 1).empty());
    std::size_t received = 0;
    for (int round = 0; round < 3; ++round) {
        CAPTURE(round);
        std::size_t held = 0;
        while (receiver.receive(piece)) {
            while (receiver.unread().size() >= 1000)
                REQUIRE(receiver.push(1000));
            ring.publish();
            held += piece;
            REQUIRE(held <= 1u << 20);
        }
        CHECK(held >= 1u << 18);
        CHECK(ring.has_space(20'000)); // into the ring itself
        CHECK(push(ring, std::string(500, 'x')));
        while (!ring.empty())
            received += pop(ring).size();
        // The largest message that such a queue promises to take, beside the idle buffers
        CHECK(ring.has_space(1u << 18));
    }
    CHECK(received == ring.counts().popped_bytes);
}

TEST_CASE(
    "ReceiveBuffers: slices, copies, large messages and gaps mix, in order and within the bounds")
{
    std::mt19937 random{11};
    for (const std::size_t bytes : {1u << 17, 1u << 20}) {
        RecordRing ring{{.bytes = bytes, .messages = 200}};
        Receiver receiver{ring};
        std::deque<std::string> expected;
        std::size_t slices = 0, refused = 0, large = 0;
        for (int i = 0; i < 30'000; ++i) {
            switch (random() % 4) {
            case 0: {
                const auto size = 1 + random() % 6000;
                if (!receiver.receive(size))
                    break;
                while (receiver.unread().size() > 100) {
                    const auto length =
                        random() % std::min<std::size_t>(receiver.unread().size() - 8, 900);
                    const std::string text{text_of(receiver.unread().subspan(8, length))};
                    if (!receiver.push(length, 8)) {
                        ++refused;
                        break;
                    }
                    ++slices;
                    expected.push_back(text);
                }
                ring.publish();
                break;
            }
            case 1: {
                const std::string text(random() % 20 == 0 ? 20'000 + random() % 20'000
                                                          : random() % 200,
                                       static_cast<char>('a' + i % 26));
                if (push(ring, text)) {
                    large += text.size() > 10'000;
                    expected.push_back(text);
                } else {
                    ++refused;
                }
                break;
            }
            default:
                for (auto left = random() % 8; left != 0 && !expected.empty(); --left) {
                    REQUIRE(pop(ring) == expected.front());
                    expected.pop_front();
                }
            }
            REQUIRE(ring.counts().queued() == expected.size());
            REQUIRE(ring.empty() == expected.empty());
        }
        CHECK(slices > 1000);
        CHECK(refused != 0);
        CHECK(large != 0);
    }
}

TEST_CASE("ReceiveBuffers: one thread receives into it while another reads what it received before")
{
    RecordRing ring{{.bytes = 1u << 17, .messages = 1000}};
    constexpr std::size_t total = 8u << 20;
    std::thread producer{[&] {
        Receiver receiver{ring};
        for (std::size_t sent = 0; sent < total;) {
            const auto size = std::min<std::size_t>(3000, total - sent);
            while (!receiver.receive(size))
                std::this_thread::yield();
            while (!receiver.unread().empty()) {
                const auto length = std::min<std::size_t>(receiver.unread().size(), 100);
                while (!receiver.push(length))
                    std::this_thread::yield();
                ring.publish();
            }
            sent += size;
        }
    }};
    unsigned next = 0;
    bool in_order = true;
    for (std::size_t read = 0; read < total;) {
        while (ring.read_position() >= ring.published())
            std::this_thread::yield();
        const auto data = ring.front().bytes();
        for (const auto byte : data)
            in_order &= byte == static_cast<std::byte>(next++);
        read += data.size();
        ring.pop();
        ring.publish_reads();
    }
    producer.join();
    CHECK(in_order);
}

TEST_CASE("ReceiveBuffers: what is a slice")
{
    RecordRing ring{{.bytes = 1u << 20, .messages = 1000}};
    ReceiveBuffers memory{ring};
    const auto buffer = memory.buffer(memory.buffer_bytes());
    REQUIRE(buffer.size() == memory.buffer_bytes());
    const std::string elsewhere(100, 'e');
    const auto largest = ring.largest_copied();
    CHECK(memory.is_slice(buffer.first(100)));
    CHECK(memory.is_slice(buffer.last(100)));
    CHECK(memory.is_slice(buffer.first(32)));
    CHECK_FALSE(memory.is_slice(buffer.first(31)));
    CHECK(memory.is_slice(buffer.first(largest)));
    CHECK_FALSE(memory.is_slice(buffer.first(largest + 1)));
    CHECK_FALSE(memory.is_slice(std::as_bytes(std::span{elsewhere})));
    CHECK_FALSE(memory.is_slice({}));
    // What was pushed is the queue's.
    REQUIRE(memory.push(LinkId{}, MessageKind::binary, buffer.subspan(50, 100)));
    CHECK_FALSE(memory.is_slice(buffer.first(100)));
    CHECK(memory.is_slice(buffer.subspan(150, 100)));
    CHECK(memory.buffer(1).data() == buffer.data() + 150);
}

TEST_CASE(
    "ReceiveBuffers: takes turns with two buffers while the consumer keeps up, and they are all "
    "that stays")
{
    RecordRing ring{{.bytes = 8u << 20, .messages = 1u << 16}};
    ReceiveBuffers memory{ring};
    for (int i = 0; i < 1000; ++i) {
        const auto buffer = memory.buffer(16u << 10);
        REQUIRE_FALSE(buffer.empty());
        REQUIRE(memory.push(LinkId{}, MessageKind::binary, buffer.first(16u << 10)));
        ring.publish();
        if (i % 3 == 0)
            while (!ring.empty())
                (void)pop(ring);
        REQUIRE(ring.budget().used() <= 3 * memory.buffer_bytes());
    }
    while (!ring.empty())
        (void)pop(ring);
    CHECK(ring.budget().has(ring.budget().limit() - 2 * memory.buffer_bytes()));
}

} // namespace receive_memory_test
