#include "queue/outbox.hpp"

#include "manual_clock.hpp"
#include "support/sanitized.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <new>
#include <span>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace outbox_test {

using namespace sidecar;
using namespace std::chrono_literals;
using detail::Outbox;
using detail::StopRequest;
using detail::WaitQueue;

struct Fixture {
    explicit Fixture(QueueLimits limits = {.bytes = 4u << 20}, LinkId link = LinkId{0})
        : outbox{link, limits, stop, written, clock}
    {
        outbox.open(1);
        outbox.set_gate(detail::SendGate::open);
    }
    void open(std::uint32_t connection)
    {
        outbox.open(connection);
        outbox.set_gate(detail::SendGate::open);
    }
    /// The next batch, which the transport is given.
    std::optional<Batch> begin_write()
    {
        auto batch = outbox.next_batch();
        if (batch)
            outbox.begin_write(*batch);
        return batch;
    }
    Outbox::Push push(std::size_t bytes)
    {
        return outbox.push(MessageKind::binary, std::vector<std::byte>(bytes));
    }
    /// Writes all that is queued; how many messages that was.
    std::size_t write()
    {
        std::size_t count = 0;
        while (const auto batch = begin_write()) {
            for ([[maybe_unused]] const auto& message : *batch)
                ++count;
            outbox.finish(*batch);
        }
        return count;
    }

    /// The same; how large they were.
    std::vector<std::size_t> write_sizes()
    {
        std::vector<std::size_t> sizes;
        while (const auto batch = begin_write()) {
            for (const auto& message : *batch)
                sizes.push_back(message.size());
            outbox.finish(*batch);
        }
        return sizes;
    }

    ManualClock clock;
    StopRequest stop;
    WaitQueue written;
    Outbox outbox;
};

std::size_t resident_bytes()
{
    std::ifstream file{"/proc/self/statm"};
    std::size_t all = 0, resident = 0;
    file >> all >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// Lets this process map only so much more memory.
class MemoryLimit {
public:
    explicit MemoryLimit(std::size_t bytes)
    {
        std::ifstream file{"/proc/self/statm"};
        std::size_t pages = 0;
        file >> pages;
        ::getrlimit(RLIMIT_AS, &before_);
        auto limit = before_;
        limit.rlim_cur = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + bytes;
        ::setrlimit(RLIMIT_AS, &limit);
    }
    MemoryLimit(const MemoryLimit&) = delete;
    MemoryLimit& operator=(const MemoryLimit&) = delete;
    ~MemoryLimit() { ::setrlimit(RLIMIT_AS, &before_); }

private:
    rlimit before_{};
};

TEST_CASE("Outbox: what is accepted is written or unsent, and says why it takes no more")
{
    Fixture f{{.bytes = 4096, .messages = 3}};
    CHECK(f.push(10) == Outbox::Push::queued);
    CHECK(f.push(4097) == Outbox::Push::too_big);
    CHECK(f.push(1000) == Outbox::Push::queued);
    CHECK(f.push(10) == Outbox::Push::queued);
    CHECK(f.push(10) == Outbox::Push::full);
    Outbox::Mark mark{f.outbox};
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::waiting);
    CHECK(f.outbox.counts().unsent() == 3);
    CHECK(f.write() == 3);
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::written);
    CHECK(f.push(10) == Outbox::Push::queued);
    f.outbox.close();
    CHECK(f.push(10) == Outbox::Push::closed);
    CHECK(f.outbox.counts().unsent() == 1);
    CHECK(f.outbox.counts().sent == 3);
    CHECK(f.outbox.counts().sent_bytes == 1020);
}

TEST_CASE("Outbox: when the writer has nothing to do, a burst's memory goes back")
{
    Fixture f;
    constexpr std::size_t count = 1500;
    std::size_t after_one = 0;
    for (int cycle = 0; cycle < 1000; ++cycle) {
        for (std::size_t i = 0; i < count; ++i)
            REQUIRE(f.push(cycle % 2 == 0 || i > 20 ? 1000 : 60'000) == Outbox::Push::queued);
        Outbox::Mark mark{f.outbox};
        const auto full = resident_bytes();
        REQUIRE(f.write() == count);
        REQUIRE(f.outbox.prepare_sleep());
        f.outbox.woke();
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::written);
        if (is_sanitized)
            continue; // it keeps memory of its own
        const auto idle = resident_bytes();
        CHECK(idle + (1u << 20) < full);
        if (cycle == 10)
            after_one = idle;
        if (cycle > 10)
            CHECK(idle < after_one + (256u << 10));
    }
}

TEST_CASE("Outbox: a small ring keeps its memory, and goes on through any traffic")
{
    Fixture f{{.bytes = 256u << 10}}; // a ring of 256 KiB, no more than an idle outbox may keep
    for (int cycle = 0; cycle < 50; ++cycle) {
        for (int i = 0; i < 60; ++i)
            REQUIRE(f.push(1000) == Outbox::Push::queued);
        REQUIRE(f.write() == 60);
        CHECK_FALSE(f.outbox.ring()->is_worth_restarting());
        REQUIRE(f.outbox.prepare_sleep());
        f.outbox.woke();
    }
    CHECK(f.outbox.counts().sent == 3000);
}

TEST_CASE("Outbox: threads push while the writer writes, sleeps and begins the ring anew")
{
    Fixture f{{.bytes = 1u << 20}};
    constexpr std::size_t threads = 2, each = 20'000;
    std::vector<std::thread> senders;
    std::atomic<std::size_t> woken{0};
    for (std::size_t t = 0; t < threads; ++t)
        senders.emplace_back([&] {
            for (std::size_t i = 0; i < each; ++i) {
                while (f.push(100 + i % 900) != Outbox::Push::queued)
                    std::this_thread::yield();
                if (f.outbox.wakes_writer())
                    woken.fetch_add(1);
                if (i % 100 == 0)
                    std::this_thread::yield();
            }
        });
    std::size_t written = 0, slept = 0;
    while (written < threads * each) {
        written += f.write();
        if (f.outbox.prepare_sleep()) {
            // Woken by a push, exactly once
            ++slept;
            while (written < threads * each && woken.load() < slept)
                std::this_thread::yield();
        } else if (f.outbox.wakes_writer()) { // our own
        } else {
            ++slept; // a sender saw it just before
            while (woken.load() < slept)
                std::this_thread::yield();
        }
        f.outbox.woke();
    }
    for (auto& sender : senders)
        sender.join();
    CHECK(written == threads * each);
    CHECK(f.outbox.counts().unsent() == 0);
    CHECK(f.outbox.counts().sent == written);
}

TEST_CASE("Outbox: at the end of its connection what is queued is dropped, and who waits is told")
{
    Fixture f;
    Outbox::Sender waiting;
    CHECK(f.outbox.push(MessageKind::text, {}, waiting) == Outbox::Push::queued);
    Outbox::Mark written{f.outbox};
    CHECK(f.write() == 1);
    CHECK(f.push(10) == Outbox::Push::queued);
    Outbox::Mark queued{f.outbox};
    f.outbox.end_connection(false);
    CHECK(f.outbox.result(written) == Outbox::FlushResult::written);
    CHECK(f.outbox.result(queued) == Outbox::FlushResult::lost);
    CHECK(f.outbox.counts().lost == 1);
    CHECK(f.outbox.counts().unsent() == 1);
    CHECK(f.push(10) == Outbox::Push::closed);
    Outbox::Mark while_down{f.outbox};
    CHECK(f.outbox.result(while_down) == Outbox::FlushResult::lost);
    f.open(2);
    Outbox::Mark anew{f.outbox};
    CHECK(f.outbox.result(anew) == Outbox::FlushResult::written);
    CHECK(f.push(10) == Outbox::Push::queued);
    // Who has waited since before the drop does not go on as if nothing had happened
    CHECK(f.outbox.push(MessageKind::text, {}, waiting) == Outbox::Push::closed);
    CHECK(f.write() == 1);
    CHECK(f.outbox.result(queued) == Outbox::FlushResult::lost);
}

TEST_CASE("Outbox: what is bound to a connection is written on that one or lost")
{
    Fixture f;
    const auto push = [&](std::optional<std::uint32_t> connection) {
        Outbox::Sender sender{.connection = connection};
        return f.outbox.push(MessageKind::text, {}, sender);
    };
    CHECK(push(2) == Outbox::Push::wrong_connection);
    CHECK(push(1) == Outbox::Push::queued);
    CHECK(f.write() == 1);
    CHECK(push({}) == Outbox::Push::queued);
    Outbox::Mark before{f.outbox};
    CHECK(push(1) == Outbox::Push::queued);
    CHECK(push({}) == Outbox::Push::queued);
    Outbox::Mark behind{f.outbox};
    f.outbox.end_connection(true);
    CHECK(f.outbox.result(before) == Outbox::FlushResult::waiting);
    CHECK(f.outbox.result(behind) == Outbox::FlushResult::lost);
    CHECK(push(1) == Outbox::Push::wrong_connection);
    CHECK(push({}) == Outbox::Push::queued); // waits for the next one
    f.open(2);
    CHECK(push(2) == Outbox::Push::queued);
    CHECK(f.write() == 4);
    CHECK(f.outbox.counts().lost == 1);
    CHECK(f.outbox.result(before) == Outbox::FlushResult::written);
    CHECK(f.outbox.counts().unsent() == 1);
}

TEST_CASE("Outbox: what may be written in part is not kept, but what stands behind it is")
{
    for (const bool marks : {false, true}) {
        CAPTURE(marks);
        Fixture f;
        for (int i = 0; i < 5; ++i)
            CHECK(f.push(10) == Outbox::Push::queued);
        const auto batch = f.begin_write();
        REQUIRE(batch);
        CHECK(f.push(10) == Outbox::Push::queued); // behind the batch
        if (marks)
            batch->mark_written(2);
        f.outbox.give_up();
        f.outbox.end_connection(true);
        CHECK(f.outbox.counts().lost == (marks ? 1 : 5)); // who marks nothing may have written any
        f.open(2);
        CHECK(f.write() == (marks ? 3 : 1));
        CHECK(f.outbox.counts().sent + f.outbox.counts().lost == 6);
    }
}

TEST_CASE("Outbox: a message whose time is over when its turn comes is dropped and counted")
{
    Fixture f;
    f.clock.time = TimePoint{1s};
    const auto push = [&](std::size_t bytes, TimePoint deadline) {
        Outbox::Sender sender{.deadline = deadline};
        return f.outbox.push(MessageKind::binary, std::vector<std::byte>(bytes), sender);
    };
    CHECK(push(1, TimePoint{2s}) == Outbox::Push::queued);
    CHECK(f.push(2) == Outbox::Push::queued);
    CHECK(push(3, TimePoint{2s}) == Outbox::Push::queued);
    CHECK(push(4, TimePoint{3s}) == Outbox::Push::queued);
    CHECK(f.push(5) == Outbox::Push::queued);
    f.clock.time = TimePoint{2s};
    CHECK(f.write_sizes() == std::vector<std::size_t>{2, 4, 5});
    CHECK(f.outbox.counts().late == 2);
    CHECK(f.outbox.counts().lost == 2);
    CHECK(f.outbox.counts().queued == 0);
    CHECK(f.outbox.counts().sent == 3);
    CHECK(push(6, TimePoint{2s}) == Outbox::Push::queued);
    CHECK_FALSE(f.outbox.next_batch());
    CHECK(f.outbox.prepare_sleep());
    CHECK(f.outbox.counts().late == 3);
}

TEST_CASE("Outbox: who waits for what is late has nothing more to wait for")
{
    Fixture f;
    Outbox::Sender sender{.deadline = TimePoint{1s}};
    CHECK(f.outbox.push(MessageKind::binary, {}, sender) == Outbox::Push::queued);
    Outbox::Mark mark{f.outbox};
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::waiting);
    f.clock.time = TimePoint{1s};
    CHECK_FALSE(f.outbox.next_batch());
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::late);
    Outbox::Mark after{f.outbox};
    CHECK(f.outbox.result(after) == Outbox::FlushResult::written);
}

TEST_CASE("Outbox: who waits is told of what is lost of his own, not of what came later")
{
    Fixture f;
    const auto push = [&](TimePoint deadline, Priority priority = Priority::normal) {
        Outbox::Sender sender{.deadline = deadline, .priority = priority};
        return f.outbox.push(MessageKind::binary, {}, sender) == Outbox::Push::queued;
    };
    const auto never = TimePoint::max(), soon = TimePoint{1s};
    f.clock.time = soon;
    SUBCASE("the one before is in time, the one behind is late")
    {
        CHECK(push(never));
        Outbox::Mark mark{f.outbox};
        CHECK(push(soon));
        CHECK(f.write() == 1);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::written);
        Outbox::Mark behind{f.outbox};
        CHECK(f.outbox.result(behind) == Outbox::FlushResult::late);
    }
    SUBCASE("what is late is told once the rest is written")
    {
        CHECK(push(soon));
        CHECK(push(never));
        Outbox::Mark mark{f.outbox};
        CHECK(push(soon));
        const auto batch = f.begin_write();
        REQUIRE(batch);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::waiting);
        f.outbox.finish(*batch);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::late);
    }
    SUBCASE("what was late before somebody asks is told to the first who does, once")
    {
        CHECK(push(soon));
        CHECK(f.write() == 0);
        {
            CHECK(push(never));
            Outbox::Mark gives_up{f.outbox};
            CHECK(f.outbox.result(gives_up) == Outbox::FlushResult::waiting);
        }
        Outbox::Mark mark{f.outbox};
        CHECK(f.write() == 1);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::late);
        Outbox::Mark next{f.outbox};
        CHECK(f.outbox.result(next) == Outbox::FlushResult::written);
    }
    SUBCASE("in the priority queue")
    {
        CHECK(push(soon, Priority::high));
        Outbox::Mark mark{f.outbox};
        CHECK(push(never, Priority::high));
        const auto batch = f.begin_write();
        REQUIRE(batch);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::late);
        Outbox::Mark second{f.outbox};
        CHECK(f.outbox.result(second) == Outbox::FlushResult::waiting);
        f.outbox.finish(*batch);
        CHECK(f.outbox.result(second) == Outbox::FlushResult::written);
    }
    SUBCASE("what is bound behind it, and lost, says nothing of it")
    {
        CHECK(push(never, Priority::high));
        Outbox::Mark mark{f.outbox};
        Outbox::Sender bound{.connection = 1, .priority = Priority::high};
        CHECK(f.outbox.push(MessageKind::binary, {}, bound) == Outbox::Push::queued);
        Outbox::Mark behind{f.outbox};
        f.outbox.end_connection(true);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::waiting);
        CHECK(f.outbox.result(behind) == Outbox::FlushResult::lost);
    }
    SUBCASE("what is being written of the priority queue when the connection breaks is lost")
    {
        CHECK(push(never, Priority::high));
        REQUIRE(f.begin_write());
        Outbox::Mark mark{f.outbox};
        f.outbox.give_up();
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::lost);
        f.outbox.end_connection(true);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::lost);
    }
    SUBCASE("what was bound to an earlier connection is lost for who waits on the next one")
    {
        Outbox::Sender bound{.connection = 1};
        CHECK(f.outbox.push(MessageKind::binary, {}, bound) == Outbox::Push::queued);
        f.outbox.end_connection(true);
        Outbox::Mark mark{f.outbox};
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::waiting);
        f.open(2);
        CHECK(push(never));
        CHECK(f.write() == 1);
        CHECK(f.outbox.result(mark) == Outbox::FlushResult::lost);
    }
}

TEST_CASE("Outbox: deadlines stay right over many laps of the ring")
{
    Fixture f{{.bytes = 4096}};
    std::vector<std::size_t> expected, written;
    std::uint64_t late = 0;
    for (std::size_t i = 0; i < 5000; ++i) {
        const auto bytes = i * 37 % 200;
        const bool is_late = i % 3 == 0;
        Outbox::Sender sender{.deadline = i % 2 == 0 ? f.clock.time + 1ms * (is_late ? 0 : 9)
                                                     : TimePoint::max()};
        REQUIRE(f.outbox.push(MessageKind::binary, std::vector<std::byte>(bytes), sender)
                == Outbox::Push::queued);
        if (i % 2 == 0 && is_late)
            ++late;
        else
            expected.push_back(bytes);
        if (i % 7 == 0)
            for (const auto size : f.write_sizes())
                written.push_back(size);
        f.clock.time += 1us;
    }
    for (const auto size : f.write_sizes())
        written.push_back(size);
    CHECK(written == expected);
    CHECK(f.outbox.counts().late == late);
}

TEST_CASE("Outbox: the priority queue goes first, and takes messages while the outbox is full")
{
    Fixture f{{.bytes = 4096, .messages = 2}};
    CHECK(f.push(1) == Outbox::Push::queued);
    CHECK(f.push(2) == Outbox::Push::queued);
    CHECK(f.push(3) == Outbox::Push::full);
    Outbox::Sender sender{.priority = Priority::high};
    CHECK(f.outbox.push(MessageKind::binary, std::vector<std::byte>(9), sender)
          == Outbox::Push::queued);
    Outbox::Mark mark{f.outbox};
    CHECK_FALSE(f.outbox.prepare_sleep());
    CHECK(f.outbox.counts().queued == 3);
    CHECK(f.outbox.has_unsent());
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::waiting);
    CHECK(f.write_sizes() == std::vector<std::size_t>{9, 1, 2});
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::written);
    CHECK(f.outbox.counts().sent == 3);
    CHECK(f.outbox.counts().sent_bytes == 12);
    CHECK_FALSE(f.outbox.has_unsent());
    CHECK(f.outbox.prepare_sleep());
}

TEST_CASE(
    "Outbox: what the priority queue holds when a connection ends is kept or unsent like the rest")
{
    Fixture f;
    Outbox::Sender free{.priority = Priority::high},
        bound{.connection = 1, .priority = Priority::high};
    const auto push = [&](Outbox::Sender& sender) {
        return f.outbox.push(MessageKind::binary, {}, sender);
    };
    CHECK(push(free) == Outbox::Push::queued);
    CHECK(push(bound) == Outbox::Push::queued);
    f.outbox.end_connection(true);
    CHECK(f.outbox.counts().lost == 1);
    CHECK(push(bound) == Outbox::Push::wrong_connection);
    f.open(2);
    REQUIRE(f.begin_write());
    f.outbox.give_up(); // the write failed
    CHECK(f.outbox.counts().lost == 2);
    f.outbox.end_connection(false);
    CHECK(f.outbox.counts().queued == 0);
}

TEST_CASE("Outbox: a bound message behind the ring's end has one position for all who look")
{
    Fixture f{{.bytes = 4096}};
    const auto push = [&](std::size_t bytes, std::optional<std::uint32_t> connection) {
        Outbox::Sender sender{.connection = connection};
        return f.outbox.push(MessageKind::binary, std::vector<std::byte>(bytes), sender);
    };
    for (int i = 0; i < 10; ++i)
        REQUIRE(f.push(96) == Outbox::Push::queued);
    CHECK(f.write() == 10);
    for (int i = 0; i < 9; ++i)
        REQUIRE(f.push(96) == Outbox::Push::queued);
    REQUIRE(push(96, 1) == Outbox::Push::queued); // the first of the next lap
    f.outbox.end_connection(true);
    f.open(2);
    CHECK(f.write() == 9);
    CHECK(f.outbox.counts().lost == 1);
    CHECK(f.outbox.counts().queued == 0);
}

TEST_CASE("Outbox: a batch that is out stays as it is until it is returned")
{
    Fixture f{{.bytes = 4096}};
    const auto push = [&](char letter) {
        const std::string text(200, letter);
        return f.outbox.push(MessageKind::text, std::as_bytes(std::span{text}));
    };
    for (const auto letter : {'a', 'b', 'c'})
        REQUIRE(push(letter) == Outbox::Push::queued);
    const auto batch = f.begin_write();
    REQUIRE(batch);
    Outbox::Mark mark{f.outbox};
    bool keeps = false;
    SUBCASE("keep") { keeps = true; }
    SUBCASE("drop") {}
    f.outbox.end_connection(keeps);
    while (push('X') == Outbox::Push::queued) {
    }
    std::string read;
    for (const auto& message : *batch)
        read += message.text().front();
    CHECK(read == "abc");
    CHECK(f.outbox.counts().lost == 0);
    batch->mark_written(2);
    f.outbox.give_up();
    CHECK(f.outbox.counts().sent == 2);
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::lost);
    if (!keeps)
        CHECK(f.outbox.counts().lost == 1);
}

TEST_CASE("Outbox: of priority messages that are written in part the rest is kept")
{
    Fixture f;
    Outbox::Sender sender{.priority = Priority::high};
    for (std::size_t i = 1; i <= 6; ++i)
        REQUIRE(f.outbox.push(MessageKind::binary, std::vector<std::byte>(i), sender)
                == Outbox::Push::queued);
    const auto batch = f.begin_write();
    REQUIRE(batch);
    batch->mark_written(2);
    f.outbox.give_up();
    f.outbox.end_connection(true);
    CHECK(f.outbox.counts().sent == 2);
    CHECK(f.outbox.counts().lost == 1); // it may be written in part
    f.open(2);
    CHECK(f.write_sizes() == std::vector<std::size_t>{4, 5, 6});
}

TEST_CASE("Outbox: each message has its link's number, however large that is")
{
    constexpr LinkId link{0xfedcba98};
    Fixture f{{.bytes = 1u << 20}, link};
    Outbox::Sender control{.priority = sidecar::Priority::high};
    for (const std::size_t bytes : {0u, 10u, 100'000u})
        REQUIRE(f.push(bytes) == Outbox::Push::queued);
    REQUIRE(f.outbox.push(MessageKind::text, {}, control) == Outbox::Push::queued);
    std::size_t count = 0;
    while (const auto batch = f.begin_write()) {
        for (const auto& message : *batch) {
            CHECK(message.link() == link);
            ++count;
        }
        f.outbox.finish(*batch);
    }
    CHECK(count == 4);
}

TEST_CASE(
    "Outbox: small messages may take all of the bound, so may large ones, and both never more")
{
    const auto fill = [](Fixture& f, auto bytes_of) {
        std::size_t held = 0, count = 0;
        for (auto bytes = bytes_of(count); f.push(bytes) == Outbox::Push::queued;
             bytes = bytes_of(++count))
            held += bytes;
        CHECK(f.outbox.counts().queued == count);
        CHECK(f.outbox.counts().queued_bytes == held);
        return held + 16 * count; // with the records
    };
    for (const std::size_t bound : {4u << 20, 3u << 20, 1'000'000u, 70'000u}) {
        const QueueLimits limits{.bytes = bound, .messages = bound};
        for (const std::size_t bytes : {1u, 24u, 100u, 1024u}) {
            CAPTURE(bound);
            CAPTURE(bytes);
            Fixture f{limits};
            for (int lap = 0; lap < 5; ++lap) {
                CHECK(fill(f, [=](std::size_t) { return bytes; }) >= bound * 95 / 100);
                CHECK(f.outbox.counts().queued_bytes <= bound);
                const auto queued = f.outbox.counts().queued;
                CHECK(f.write() == queued);
            }
        }
        Fixture large{limits};
        for (int lap = 0; lap < 5; ++lap) {
            CHECK(fill(large, [=](std::size_t) { return bound / 16 + 1; }) >= bound * 9 / 10);
            CHECK(large.outbox.counts().queued_bytes <= bound);
            const auto queued = large.outbox.counts().queued;
            CHECK(large.write() == queued);
        }
        Fixture mixed{limits};
        for (int lap = 0; lap < 5; ++lap) {
            for (int i = 0; i < 5; ++i)
                REQUIRE(mixed.push(bound / 16 + 1) == Outbox::Push::queued);
            while (mixed.push(1024) == Outbox::Push::queued) {
            }
            CHECK(mixed.outbox.counts().queued_bytes >= bound * 9 / 10);
            CHECK(mixed.outbox.counts().queued_bytes <= bound);
            CHECK(mixed.push(bound / 16 + 1) == Outbox::Push::full);
            const auto queued = mixed.outbox.counts().queued;
            CHECK(mixed.write() == queued);
        }
    }
}

TEST_CASE(
    "Outbox: a message as large as the bound always fits into an empty one, and nothing beside it")
{
    for (const std::size_t bound : {2u << 20, 70'000u, 3'000u, 700u}) {
        CAPTURE(bound);
        Fixture f{{.bytes = bound}};
        CHECK(f.outbox.largest_message() == bound);
        CHECK(f.push(bound + 1) == Outbox::Push::too_big);
        for (std::size_t turn = 0; turn < 500; ++turn) { // wherever the ring's end is
            REQUIRE(f.push(bound) == Outbox::Push::queued);
            CHECK(f.push(0) == Outbox::Push::full);
            CHECK(f.push(bound) == Outbox::Push::full);
            CHECK(f.write() == 1);
            REQUIRE(f.push(bound / 2) == Outbox::Push::queued);
            CHECK(f.push(bound / 2 + 1) == Outbox::Push::full);
            CHECK(f.push(1) == Outbox::Push::queued);
            CHECK(f.write() == 2);
        }
    }
}

TEST_CASE("Outbox: a written message that was bound to a connection is not lost with that")
{
    Fixture f;
    Outbox::Sender bound{.connection = 1};
    REQUIRE(f.outbox.push(MessageKind::binary, {}, bound) == Outbox::Push::queued);
    CHECK(f.write() == 1);
    REQUIRE(f.push(1) == Outbox::Push::queued);
    Outbox::Mark mark{f.outbox};
    f.outbox.end_connection(true);
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::waiting);
    f.open(2);
    CHECK(f.write() == 1);
    CHECK(f.outbox.result(mark) == Outbox::FlushResult::written);
}

// A sanitizer reserves address space beyond any limit
TEST_CASE("Outbox: a message that found no memory leaves its deadline to no other"
          * doctest::skip(is_sanitized))
{
    constexpr std::size_t large = 1u << 30;
    Fixture f{{.bytes = std::size_t{4} << 30}};
    Outbox::Sender in_time{.deadline = f.clock.now() + 1s};
    REQUIRE(f.outbox.push(MessageKind::binary, {}, in_time) == Outbox::Push::queued);
    auto* const memory = static_cast<const std::byte*>(
        ::mmap(nullptr, large, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    {
        const MemoryLimit limit{64u << 20};
        CHECK_THROWS_AS((void)f.outbox.push(MessageKind::binary, std::span{memory, large}, in_time),
                        std::bad_alloc);
    }
    REQUIRE(f.push(10) == Outbox::Push::queued);
    f.clock.time += 2s;
    CHECK(f.write_sizes() == std::vector<std::size_t>{10});
    CHECK(f.outbox.counts().late == 1);
    CHECK(f.outbox.counts().unsent() == 1);
}

} // namespace outbox_test
