#include "queue/partial_message.hpp"

#include "real_clock.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace sidecar;
using detail::Inbox;
using detail::PartialMessage;
using Size = PartialMessage::Size;

namespace {

constexpr std::size_t kib = 1024;

/// Receives so many more bytes of a message, a letter each that tells its place.
bool receive(PartialMessage& message, std::size_t bytes)
{
    for (; bytes != 0;) {
        if (!message.make_space(bytes))
            return false;
        const auto space = message.space();
        const auto got = std::min(space.size(), bytes);
        auto place = message.come().size();
        for (auto& byte : space.first(got))
            byte = static_cast<std::byte>('a' + place++ % 23);
        message.add(got);
        bytes -= got;
    }
    return true;
}

bool is_intact(const MessageView& message)
{
    std::size_t place = 0;
    return std::all_of(message.bytes().begin(), message.bytes().end(), [&](std::byte byte) {
        return byte == static_cast<std::byte>('a' + place++ % 23);
    });
}

struct Fixture {
    explicit Fixture(std::size_t bytes = 8u << 20, std::size_t limit = 1u << 20)
        : inbox{{.bytes = bytes, .messages = 100'000}, {}, clock}
    {
        inbox.share_with(limit);
        inbox.on_space = [this] { ++asked_back; };
    }
    /// Takes everything; how many bytes that was.
    std::size_t drain()
    {
        inbox.publish();
        std::size_t bytes = 0;
        while (const auto message = inbox.receive({})) {
            CHECK(is_intact(message->view()));
            bytes += message->size();
        }
        return bytes;
    }
    [[nodiscard]] const detail::MemoryBudget& budget() const { return inbox.ring().budget(); }

    RealClock clock;
    Inbox inbox;
    int asked_back = 0;
};

} // namespace

TEST_CASE("PartialMessage: arrives whole, in whatever pieces, and its memory goes with it")
{
    for (const auto size : {Size::known, Size::at_most}) {
        for (const std::size_t bytes : {0ul, 1ul, 4096ul, 4097ul, 20 * kib, 64 * kib, 1024 * kib}) {
            for (const std::size_t piece : {1ul, 1000ul, 70'000ul, 1024 * kib}) {
                if (bytes > 64 * kib && piece == 1)
                    continue;
                CAPTURE(bytes);
                CAPTURE(piece);
                Fixture f;
                PartialMessage message{f.inbox};
                message.begin(size == Size::known ? bytes : 1024 * kib, size);
                for (std::size_t come = 0; come < bytes; come += piece)
                    REQUIRE(receive(message, std::min(piece, bytes - come)));
                REQUIRE(message.come().size() == bytes);
                REQUIRE(message.push(LinkId{1}, MessageKind::bytes));
                CHECK(message.come().empty());
                CHECK(f.drain() == bytes);
                CHECK(f.budget().has(f.budget().limit()));
            }
        }
    }
}

TEST_CASE("PartialMessage: what it counts")
{
    struct Row {
        const char* what;
        Size size;
        std::size_t announced, come, least, most;
    };
    for (const auto& row : {
             Row{"an announcement alone", Size::known, 1024 * kib, 0, 0, 0},
             Row{"an open message's beginning", Size::at_most, 1024 * kib, 4 * kib, 0, 0},
             Row{"a message of middle size", Size::known, 30 * kib, 4 * kib, 0, 0},
             Row{"more than the beginning", Size::at_most, 1024 * kib, 5 * kib, 5 * kib, 8 * kib},
             Row{"much", Size::at_most, 1024 * kib, 300 * kib, 300 * kib, 600 * kib},
             Row{"all of one that is known, with plenty free", Size::known, 1024 * kib, 1,
                 1024 * kib, 1024 * kib},
         }) {
        CAPTURE(row.what);
        Fixture f;
        PartialMessage message{f.inbox};
        message.begin(row.announced, row.size);
        REQUIRE(receive(message, row.come));
        CHECK(f.budget().used() >= row.least);
        CHECK(f.budget().used() <= row.most);
        message.drop();
        CHECK(f.budget().used() == 0);
    }
}

TEST_CASE("PartialMessage: known messages get all at once while that takes at most half, and move "
          "nothing then")
{
    Fixture f;
    std::vector<std::unique_ptr<PartialMessage>> messages;
    for (int i = 0; i < 100; ++i) {
        auto& message = *messages.emplace_back(std::make_unique<PartialMessage>(f.inbox));
        message.begin(256 * kib, Size::known);
        REQUIRE(receive(message, 1));
    }
    CHECK(f.budget().used() == f.budget().limit() / 2);
    const auto* where = messages[0]->come().data();
    REQUIRE(receive(*messages[0], 200 * kib));
    CHECK(messages[0]->come().data() == where);
    // The others grow.
    REQUIRE(receive(*messages.back(), 256 * kib - 1));
    REQUIRE(messages.back()->push(LinkId{}, MessageKind::bytes));
    CHECK(f.drain() == 256 * kib);
}

TEST_CASE("PartialMessage: a thousand links that announce a message of the limit and stall hold up "
          "nobody")
{
    for (const auto size : {Size::known, Size::at_most}) {
        for (const std::size_t come : {0ul, 1ul, 4096ul}) {
            CAPTURE(come);
            Fixture f;
            std::vector<std::unique_ptr<PartialMessage>> stalled;
            for (int i = 0; i < 1000; ++i) {
                auto& message = *stalled.emplace_back(std::make_unique<PartialMessage>(f.inbox));
                message.begin(1024 * kib, size);
                REQUIRE(receive(message, come));
            }
            CHECK(f.budget().used() <= f.budget().limit() / 2);
            for (const std::size_t bytes : {10ul, 30 * kib, 64 * kib, 1024 * kib}) {
                PartialMessage message{f.inbox};
                message.begin(size == Size::known ? bytes : 1024 * kib, size);
                REQUIRE(receive(message, bytes));
                REQUIRE(message.push(LinkId{}, MessageKind::bytes));
                CHECK(f.drain() == bytes);
                REQUIRE(f.inbox.push(LinkId{}, MessageKind::bytes, std::vector<std::byte>(bytes)));
                f.inbox.publish();
                CHECK(f.inbox.receive({})->size() == bytes);
                CHECK_FALSE(f.inbox.receive_buffer(100).empty());
            }
        }
    }
}

TEST_CASE(
    "PartialMessage: a thousand links that send as much as they can stay within the bound, and "
    "small messages go on")
{
    Fixture f;
    std::vector<std::unique_ptr<PartialMessage>> links;
    for (int i = 0; i < 1000; ++i)
        links.emplace_back(std::make_unique<PartialMessage>(f.inbox))
            ->begin(1024 * kib, i % 2 == 0 ? Size::known : Size::at_most);
    std::size_t refused = 0;
    for (int round = 0; round < 100; ++round)
        for (auto& link : links)
            if (link->missing_bytes() > 12 * kib && !receive(*link, 10 * kib))
                ++refused;
    std::size_t held = 0;
    for (const auto& link : links)
        held += link->come().size();
    CHECK(refused != 0);
    CHECK(held <= f.budget().limit() + 1000 * PartialMessage::uncounted_bytes);
    CHECK(f.budget().used() <= f.budget().limit());
    for (int i = 0; i < 1000; ++i) {
        const std::vector<std::byte> small(1000);
        REQUIRE(f.inbox.push(LinkId{}, MessageKind::bytes, small));
        f.inbox.publish();
        CHECK(f.inbox.receive({})->size() == 1000);
    }
    // Once one of them gives up, who asks for space is asked back.
    CHECK_FALSE(f.inbox.want_space(1024 * kib));
    CHECK(f.asked_back == 0);
    links.clear();
    CHECK(f.asked_back == 1);
    CHECK(f.budget().used() == 0);
}

namespace {

/// A peer that goes on sending messages; and the link that waits when there is no memory.
struct Link {
    Link(Inbox& inbox, std::size_t count) : message{inbox}, left{count} {}
    PartialMessage message;
    std::size_t left;      // messages
    std::size_t bytes = 0; // of the present one
    bool is_waiting = false;
};

} // namespace

TEST_CASE("PartialMessage: links whose peers go on all come to their end, in the least inbox there "
          "may be")
{
    std::mt19937 random{3};
    for (int run = 0; run < 30; ++run) {
        CAPTURE(run);
        const std::size_t limit = 64 * kib;
        Fixture f{4 * limit, limit};
        std::vector<std::unique_ptr<Link>> links;
        for (int i = 0; i < 20; ++i)
            links.push_back(std::make_unique<Link>(f.inbox, 5));
        const auto advance = [&](Link& link) {
            if (link.bytes == 0) {
                link.bytes = 1 + random() % limit;
                const bool is_known = random() % 2 == 0;
                link.message.begin(is_known ? link.bytes : limit,
                                   is_known ? Size::known : Size::at_most);
            }
            const auto missing = link.bytes - link.message.come().size();
            const auto piece = std::min<std::size_t>(missing, 1 + random() % (20 * kib));
            if (!receive(link.message, piece)
                || (missing == piece && !link.message.push(LinkId{}, MessageKind::bytes)))
                return false;
            if (missing == piece) {
                link.bytes = 0;
                --link.left;
            }
            return true;
        };
        for (std::size_t step = 0;; ++step) {
            REQUIRE(step < 100'000);
            std::vector<Link*> ready;
            for (auto& link : links)
                if (link->left != 0 && !link->is_waiting)
                    ready.push_back(link.get());
            if (!ready.empty()) {
                auto& link = *ready[random() % ready.size()];
                if (!advance(link)) {
                    f.inbox.ask_for_space();
                    link.is_waiting = !advance(link);
                }
            }
            REQUIRE(f.budget().used() <= f.budget().limit());
            if (ready.empty() || random() % 8 == 0)
                (void)f.drain();
            if (std::exchange(f.asked_back, 0) != 0)
                for (auto& link : links)
                    link->is_waiting = false;
            const auto is_done = [](const auto& link) { return link->left == 0; };
            if (std::all_of(links.begin(), links.end(), is_done))
                break;
            if (ready.empty()) // all wait: then somebody was asked back just now
                REQUIRE(std::any_of(links.begin(), links.end(), [](const auto& link) {
                    return link->left != 0 && !link->is_waiting;
                }));
        }
        (void)f.drain();
        CHECK(f.budget().used() <= 2 * limit);
    }
}

TEST_CASE("PartialMessage: a full ring refuses a whole message, which then waits where it is")
{
    Fixture f{1u << 18, 32 * kib};
    while (f.inbox.push(LinkId{}, MessageKind::bytes, {}))
        ;
    for (const std::size_t bytes : {100ul, 30 * kib}) {
        PartialMessage message{f.inbox};
        message.begin(bytes, Size::known);
        REQUIRE(receive(message, bytes));
        CHECK_FALSE(message.push(LinkId{}, MessageKind::bytes));
        CHECK(message.come().size() == bytes);
    }
    CHECK(f.budget().used() == 0);
}
