#include "queue/record_ring.hpp"

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

TEST_CASE(
    "RecordRing: take() moves a large message's block out; what is left is freed with the ring")
{
    RecordRing ring{{.bytes = 4096, .messages = 10}};
    const std::string large(1000, 'L');
    REQUIRE(push(ring, large));
    REQUIRE(push(ring, large));
    const auto at = ring.settle(ring.read_position());
    const auto* block = ring.view(at).bytes().data();
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

namespace {

/// What a transport does with the ring: receives a stream into it, and pushes the messages that
/// stand there.
class Receiver {
public:
    explicit Receiver(RecordRing& ring) : ring_{ring} {}

    /// Receives so many bytes, the next of the stream; false: the ring has no room to receive in.
    bool receive(std::size_t bytes)
    {
        const auto room = ring_.receive_room(bytes, 0);
        if (room.empty())
            return false;
        for (auto& byte : room.first(bytes))
            byte = static_cast<std::byte>(next_++);
        unread_ = room.first(bytes);
        return true;
    }
    [[nodiscard]] std::span<const std::byte> unread() const { return unread_; }
    /// Pushes the first of what was received.
    bool push(std::size_t bytes, std::size_t skipped = 0)
    {
        if (!ring_.push(LinkId{1}, MessageKind::bytes, unread_.subspan(skipped, bytes)))
            return false;
        unread_ = unread_.subspan(skipped + bytes);
        return true;
    }

private:
    RecordRing& ring_;
    std::span<const std::byte> unread_;
    unsigned next_ = 0;
};

std::string_view text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace

TEST_CASE(
    "RecordRing: what is received in its memory stays there, and what comes next does not touch it")
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

    auto at = ring.settle(ring.read_position());
    CHECK(ring.view(at).bytes().data() == first);
    CHECK(ring.take(at).bytes().data() != first); // a message that is kept does not keep a buffer
    CHECK(pop(ring) == expected.substr(0, 400));
    at = ring.settle(ring.read_position());
    CHECK(ring.view(at).bytes().data() == first + 404);
    CHECK(pop(ring) == expected.substr(404, 500));
    CHECK(ring.pushed_bytes() == 900);
    CHECK(ring.popped_bytes() == 900);

    // All is read: the same memory serves again, from its beginning.
    REQUIRE(receiver.receive(1000));
    CHECK(receiver.unread().data() == first);
    CHECK(push(ring, std::string(64, 'c'))); // from elsewhere
    CHECK(pop(ring) == std::string(64, 'c'));
}

TEST_CASE("RecordRing: a queue too small for a buffer gives none, nor does one whose bound is "
          "reached, and it recovers")
{
    RecordRing tiny{{.bytes = 4096, .messages = 1000}};
    CHECK(tiny.receive_room(1, 0).empty());

    RecordRing ring{{.bytes = 1u << 20, .messages = 1u << 16}};
    Receiver receiver{ring};
    constexpr std::size_t piece = 16u << 10;
    CHECK(ring.receive_room((1u << 20) + 1, 0).empty());
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
        CHECK(ring.has_room(20'000)); // into the ring itself
        CHECK(push(ring, std::string(500, 'x')));
        while (!ring.empty())
            received += pop(ring).size();
        // The largest message that such a queue promises to take, beside the idle buffers
        CHECK(ring.has_room(1u << 18));
    }
    CHECK(received == ring.popped_bytes());
}

TEST_CASE("RecordRing: slices, copies, large messages and gaps mix, in order and within the bounds")
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
            REQUIRE(ring.pushed() - ring.popped() == expected.size());
            REQUIRE(ring.empty() == expected.empty());
        }
        CHECK(slices > 1000);
        CHECK(refused != 0);
        CHECK(large != 0);
    }
}

TEST_CASE("RecordRing: one thread receives into it while another reads what it received before")
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
        const auto data = ring.view(ring.settle(ring.read_position())).bytes();
        for (const auto byte : data)
            in_order &= byte == static_cast<std::byte>(next++);
        read += data.size();
        ring.pop();
        ring.publish_reads();
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
        while (ring.has_room(1u << 14))
            REQUIRE(ring.push(LinkId{}, MessageKind::bytes, payload));
    }
    // Also where the next record brings the news of a used-up buffer along.
    for (const std::size_t size : {100u, 1000u, 5000u}) {
        RecordRing ring{{.bytes = 1u << 18, .messages = 1u << 20}};
        const std::vector<std::byte> payload(size);
        for (int i = 0; ring.has_room(1u << 14); ++i) {
            const auto room = ring.receive_room(size, 1u << 14);
            REQUIRE(ring.push(LinkId{}, MessageKind::bytes,
                              room.empty() || i % 3 == 0 ? std::span{payload} : room.first(size)));
        }
    }
}
