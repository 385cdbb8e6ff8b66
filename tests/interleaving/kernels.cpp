// Programs of two or three threads over each lock-free part of lib/, explored whole; and the same
// with a weaker memory order, which the exploration must notice.
#include "explorer.hpp"

#include "base/notify_fd.hpp"
#include "base/stop_request.hpp"
#include "base/wait_queue.hpp"
#include "loop/wake_up.hpp"
#include "queue/consumer_lock.hpp"
#include "queue/ready_descriptor.hpp"
#include "queue/record_ring.hpp"
#include "ready_descriptor_without_recheck.hpp"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

using namespace sidecar;
using namespace sidecar::detail;
using explorer::require;

/// The programs run on real time, and never come here.
namespace sidecar::detail {

bool VirtualTime::wait(const Futex&, TimePoint, const std::function<bool()>&, TimePoint)
{
    std::abort();
}
void VirtualTime::poke() noexcept { std::abort(); }

} // namespace sidecar::detail

/// Not in an unnamed namespace: the explorer asks for the names of functions.
namespace program {

// --- the explorer itself: what C++ allows is found, what it forbids is not

/// One of two that write first and then read sees the other's write.
template <std::memory_order store, std::memory_order load, bool has_fence = false>
struct WriteThenRead {
    std::atomic<int> x{0}, y{0};
    int read[2] = {};

    void run(std::atomic<int>& mine, std::atomic<int>& other, int& result)
    {
        mine.store(1, store);
        if (has_fence)
            std::atomic_thread_fence(std::memory_order_seq_cst);
        result = other.load(load);
    }
    void one() { run(x, y, read[0]); }
    void two() { run(y, x, read[1]); }
    void check() { require(read[0] == 1 || read[1] == 1, "one sees the other"); }
};

/// What was written before the flag is seen by those who see the flag.
template <std::memory_order store, std::memory_order load>
struct WriteAndFlag {
    int data = 0;
    std::atomic<int> flag{0};

    void one()
    {
        data = 1;
        flag.store(1, store);
    }
    void two()
    {
        if ((flag.load(load) & 1) != 0)
            require(data == 1, "the data are seen");
    }
    void check() {}
};
/// The same, also by those who see a later update of the flag.
struct WriteAndUpdatedFlag : WriteAndFlag<std::memory_order_release, std::memory_order_acquire> {
    void three() { flag.fetch_add(2, std::memory_order_relaxed); }
};
/// Two who read the same object twice agree on the order of its stores.
struct ReadsTwice {
    std::atomic<int> x{0};
    int first = 0, second = 0;

    void one() { x.store(1, std::memory_order_relaxed); }
    void two() { x.store(2, std::memory_order_relaxed); }
    void three()
    {
        first = x.load(std::memory_order_relaxed);
        second = x.load(std::memory_order_relaxed);
    }
    void check()
    {
        require(first == second || second == x.load() || first == 0,
                "no store is seen after a later one");
    }
};

struct RealClock final : AppClock {
    [[nodiscard]] TimePoint now() const noexcept override { return {}; }
};

// --- WaitQueue, Futex

/// One waits for two conditions, each of another thread. None of the wake-ups is lost.
struct Waits {
    WaitQueue queue;
    RealClock clock;
    std::atomic<bool> first{false}, second{false};

    void one()
    {
        require(queue.wait_until(clock, TimePoint::max(),
                                 [&] { return first.load() && second.load(); }),
                "the condition holds");
    }
    void two()
    {
        first.store(true);
        (void)queue.wake();
    }
    void three()
    {
        second.store(true);
        queue.wake_from_signal();
    }
    void check() {}
};

/// Two wait; one call wakes both.
struct WaitsOfTwo {
    WaitQueue queue;
    RealClock clock;
    std::atomic<bool> is_set{false};
    int written = 0;

    void one()
    {
        (void)queue.wait_until(clock, TimePoint::max(), [&] { return is_set.load(); });
        require(written == 1, "what was written before is seen");
    }
    void two() { one(); }
    void three()
    {
        written = 1;
        is_set.store(true);
        (void)queue.wake();
    }
    void check() {}
};

// --- RecordRing

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text)
{
    return std::as_bytes(std::span{text});
}

struct Ring {
    RecordRing ring;
    unsigned received = 0;

    explicit Ring(std::size_t messages) : ring{QueueLimits{.bytes = 512, .messages = messages}} {}

    void push(std::string_view text)
    {
        while (!ring.push(LinkId{1}, MessageKind::text, bytes_of(text)))
            std::this_thread::yield();
        ring.publish();
    }
    void pop(std::string_view text)
    {
        while (ring.published() == ring.read_position())
            std::this_thread::yield();
        const auto message = ring.front();
        require(message.size() == text.size()
                    && std::equal(text.begin(), text.end(), message.text().begin()),
                "the next message");
        ring.pop();
        ring.publish_reads();
        ++received;
    }
    void check_all(unsigned count)
    {
        require(received == count && ring.empty(), "all were received");
        const auto counts = ring.counts();
        require(counts.pushed == counts.popped && counts.pushed_bytes == counts.popped_bytes,
                "all are counted");
    }
};

/// The ring is full: a message overwrites one that was read.
struct RingWraps : Ring {
    static constexpr std::string_view text{"the most that the ring may hold."};
    RingWraps() : Ring{8}
    {
        for (int i = 0; i < 6; ++i)
            push(text);
    }
    void one() { push(text); }
    void two() { pop(text); }
    void check()
    {
        for (int i = 0; i < 6; ++i)
            pop(text);
        check_all(7);
    }
};

/// The message limit is reached.
struct RingIsFull : Ring {
    RingIsFull() : Ring{1} {}
    void one()
    {
        push("first");
        push("second, a longer one");
    }
    void two()
    {
        pop("first");
        pop("second, a longer one");
    }
    void check() { check_all(2); }
};

/// Large messages are in blocks, and a second one has no memory before the first was read.
struct RingOfBlocks : Ring {
    std::string text = std::string(250, 'x');
    RingOfBlocks() : Ring{8} { push(text); }
    void one() { push(text); }
    void two() { pop(text); }
    void check()
    {
        pop(text);
        check_all(2);
    }
};

/// A third thread reads the counters meanwhile.
struct RingCounts : Ring {
    RingCounts() : Ring{4} {}
    void one() { push("message"); }
    void two() { pop("message"); }
    void three()
    {
        const auto counts = ring.counts();
        require(counts.pushed >= counts.popped && counts.pushed_bytes >= counts.popped_bytes,
                "no difference is negative");
    }
    void check() { check_all(1); }
};

/// The inbox's use: the consumer sleeps while there is nothing.
struct RingAndWait : Ring {
    WaitQueue arrived;
    RealClock clock;
    RingAndWait() : Ring{4} {}

    void one()
    {
        push("first");
        (void)arrived.wake();
        push("second");
        (void)arrived.wake();
    }
    void two()
    {
        for (const auto* text : {"first", "second"}) {
            (void)arrived.wait_until(clock, TimePoint::max(),
                                     [&] { return ring.published() != ring.read_position(); });
            pop(text);
        }
    }
    void check() { check_all(2); }
};

// --- StopRequest

/// Two request the stop, a third waits for it.
struct Stops {
    StopRequest stop;
    bool was_first[2] = {};
    int written = 0;

    void one() { was_first[0] = stop.make(); }
    void two()
    {
        explorer::wait_readable(stop.fd());
        require(stop.is_made(), "the descriptor is readable from the request on");
        require(stop.made_at() != TimePoint{}, "its time is known");
        written = 1;
        stop.mark_over();
    }
    void three()
    {
        was_first[1] = stop.make();
        require(stop.is_made(), "a request is not withdrawn");
        if (stop.refusal() == Error::stopped)
            require(written == 1, "the end of the stop is seen with its report");
    }
    void check()
    {
        require(was_first[0] != was_first[1], "one request is the first");
        require(stop.is_made() && stop.is_over(), "the stop is over");
    }
};

/// What was written before the request is seen by all who see it.
struct StopsWithReason {
    StopRequest stop;
    int written = 0;

    void one()
    {
        written = 1;
        (void)stop.make();
    }
    void two()
    {
        if (stop.is_made())
            require(written == 1, "what was written before the request");
    }
    void check() {}
};

// --- ReadyDescriptor

template <class Descriptor>
struct ReadyWith {
    std::shared_ptr<const NotifyFd> fd = std::make_shared<const NotifyFd>();
    Descriptor descriptor;
    std::atomic<int> queued{0};
    std::atomic<bool> is_over{false};

    [[nodiscard]] bool holds() const { return queued.load() != 0 || is_over.load(); }
    void attach()
    {
        descriptor.attach(fd);
        if (holds())
            descriptor.raise();
    }
    void arrive()
    {
        queued.fetch_add(1);
        descriptor.raise();
    }
    void take()
    {
        if (queued.load() != 0)
            queued.fetch_sub(1);
        descriptor.lower_unless([this] { return holds(); });
    }
    void end()
    {
        is_over.store(true);
        descriptor.raise_for_good();
    }
    void check()
    {
        require(!holds() || explorer::is_readable(fd->get()),
                "the descriptor is readable while there is something");
    }
};

using Ready = ReadyWith<ReadyDescriptor>;

/// Arrives, is taken, and the end comes from a signal handler, all at once.
template <class Descriptor>
struct ReadyRaises : ReadyWith<Descriptor> {
    ReadyRaises() { this->attach(); }
    void one() { this->arrive(); }
    void two() { this->take(); }
    void three() { this->end(); }
};
/// The descriptor is attached while something arrives, or while the end comes.
struct ReadyAttaches : Ready {
    void one() { arrive(); }
    void two() { attach(); }
};
struct ReadyAttachesAtTheEnd : Ready {
    void one() { end(); }
    void two() { attach(); }
};
/// The application waits for its descriptor, and takes what it finds.
struct ReadyWaits : Ready {
    ReadyWaits() { attach(); }
    void one()
    {
        arrive();
        arrive();
    }
    void two()
    {
        for (int taken = 0; taken < 2; ++taken) {
            while (queued.load() == 0) {
                explorer::wait_readable(fd->get());
                if (queued.load() == 0)
                    descriptor.lower_unless([this] { return holds(); });
            }
            take();
        }
    }
};

// --- ConsumerLock

/// Two consume, one of them waits for the lock; a third looks for a moment.
struct Locks {
    ConsumerLock lock;
    RealClock clock;
    int consumed = 0;

    void one()
    {
        require(lock.lock(clock, TimePoint::max(), [] { return false; }), "it gets the lock");
        ++consumed;
        lock.unlock();
    }
    void two() { one(); }
    void check() { require(consumed == 2, "both have consumed"); }
};
struct LocksAndLooks {
    ConsumerLock lock;
    int consumed = 0, looked = 0;

    void one()
    {
        if (!lock.try_lock())
            return;
        ++consumed;
        lock.unlock();
    }
    void two()
    {
        if (lock.try_lock_to_look()) {
            looked = consumed;
            lock.unlock();
        }
    }
    void three() { one(); }
    void check() { require(consumed >= 1, "a look makes no try_lock() fail"); }
};
/// The inbox's use: a producer without space asks for it, a consumer frees some.
struct Fences {
    ConsumerLock lock;
    std::atomic<bool> wants_space{false};
    std::atomic<int> freed{0};
    bool has_found = false, was_woken = false;

    void one()
    {
        wants_space.store(true, std::memory_order_relaxed);
        lock.fence();
        has_found = freed.load(std::memory_order_relaxed) != 0;
    }
    void two()
    {
        (void)lock.try_lock();
        freed.store(1, std::memory_order_relaxed);
        lock.unlock();
        was_woken = wants_space.load(std::memory_order_relaxed);
    }
    void check() { require(has_found || was_woken, "the producer learns of the space"); }
};

// --- WakeUp

/// Each piece of work is seen by a call of the function.
struct Wakes {
    boost::asio::io_context io;
    WakeUp wake_up{io, [this] { seen = work.load(std::memory_order_relaxed); }};
    std::atomic<int> work{0};
    int seen = 0;

    void one()
    {
        work.fetch_add(1, std::memory_order_relaxed);
        wake_up.schedule();
    }
    void two() { one(); }
    void three()
    {
        while (seen != 2)
            io.run_one();
    }
    void check() {}
};

} // namespace program

namespace {

using namespace explorer;

struct Row {
    Program program;
    std::vector<Mutant> mutants;
    bool is_broken = false; ///< by its source, see mutate.py
};

template <class World>
Row row(const char* name, std::vector<Mutant> mutants = {})
{
    return {explorer::program<World>(name), std::move(mutants)};
}

template <class World>
Row broken(const char* name)
{
    return {explorer::program<World>(name), {}, true};
}

/// The mutants: each breaks its program.
std::vector<Row> rows()
{
    using namespace program;
    using enum std::memory_order;
    constexpr auto load = Kind::load, store = Kind::store, rmw = Kind::rmw;
    return {
        row<WriteThenRead<seq_cst, seq_cst>>("explorer: write then read"),
        row<WriteThenRead<relaxed, relaxed, true>>("explorer: write, fence, read"),
        broken<WriteThenRead<release, acquire>>("explorer: write then read, acquire and release"),
        broken<WriteThenRead<seq_cst, acquire>>("explorer: write then read, one order weaker"),
        row<WriteAndUpdatedFlag>("explorer: write and flag"),
        broken<WriteAndFlag<relaxed, acquire>>("explorer: write and flag, relaxed store"),
        broken<WriteAndFlag<release, relaxed>>("explorer: write and flag, relaxed load"),
        row<ReadsTwice>("explorer: one order of the stores"),
        row<Waits>("wait queue: two wakers",
                   {{{"WaitQueue::wait_real", rmw, seq_cst}, acq_rel},
                    {{"WaitQueue::wake", load, seq_cst}, acquire},
                    {{"WaitQueue::wake_from_signal", load, seq_cst}, acquire}}),
        row<WaitsOfTwo>("wait queue: two waiters"),
        row<RingWraps>("record ring: wraps",
                       {{{"RecordRing::look_at_consumer", load, seq_cst}, relaxed},
                        {{"RecordRing::publish_reads", store, seq_cst}, relaxed}}),
        row<RingIsFull>("record ring: is full",
                        {{{"RecordRing::publish", store, seq_cst}, relaxed},
                         {{"RecordRing::published", load, seq_cst}, relaxed}}),
        row<RingOfBlocks>("record ring: blocks"),
        row<RingCounts>("record ring: counters",
                        {{{"RecordRing::counts", load, acquire}, relaxed},
                         {{"RecordRing::publish_reads", store, release}, relaxed}}),
        row<RingAndWait>("record ring and wait queue",
                         {{{"RecordRing::publish", store, seq_cst}, release},
                          {{"RecordRing::published", load, seq_cst}, acquire}}),
        row<Stops>("stop request", {{{"StopRequest::make", rmw, seq_cst}, relaxed},
                                    {{"StopRequest::mark_over", store, seq_cst}, relaxed},
                                    {{"StopRequest::is_over", load, seq_cst}, relaxed}}),
        row<StopsWithReason>("stop request: order",
                             {{{"StopRequest::is_made", load, seq_cst}, relaxed}}),
        row<ReadyRaises<ReadyDescriptor>>("ready descriptor: raises"),
        broken<ReadyRaises<ReadyDescriptorWithoutRecheck>>(
            "ready descriptor without its last check"),
        row<ReadyAttaches>("ready descriptor: attaches",
                           {{{"ReadyDescriptor::attach", store, seq_cst}, release},
                            {{"ReadyDescriptor::raise", load, seq_cst}, acquire}}),
        row<ReadyAttachesAtTheEnd>("ready descriptor: attaches at the end",
                                   {{{"ReadyDescriptor::raise_for_good", load, seq_cst}, acquire}}),
        row<ReadyWaits>("ready descriptor: waits"),
        row<Locks>("consumer lock: waits", {{{"ConsumerLock::try_lock", rmw, seq_cst}, release},
                                            {{"ConsumerLock::unlock", rmw, seq_cst}, acq_rel}}),
        row<LocksAndLooks>("consumer lock: looks",
                           {{{"ConsumerLock::try_lock_to_look", rmw, acq_rel}, release}}),
        row<Fences>("consumer lock: fence", {{{"ConsumerLock::fence", rmw, acq_rel}, acquire},
                                             {{"ConsumerLock::fence", rmw, acq_rel}, release}}),
        row<Wakes>("wake-up", {{{"WakeUp::schedule", rmw, seq_cst}, relaxed},
                               {{"WakeUp::Handler::operator", rmw, seq_cst}, release}}),
    };
}

/// Prints of each place whether a weaker order breaks the program.
void survey(const Program& program, const std::vector<Site>& sites)
{
    using enum std::memory_order;
    for (const auto& site : sites)
        for (const auto order : {acq_rel, release, acquire, relaxed}) {
            const bool is_one =
                order < site.order
                && (site.kind != Kind::load || order == acquire || order == relaxed)
                && (site.kind != Kind::store || order == release || order == relaxed);
            if (!is_one || site.function.starts_with("program::"))
                continue;
            const Mutant mutant{site, order};
            const auto outcome = explore(program, {.runs = 20'000}, &mutant);
            std::printf("    %s, %s in place of %s: %s\n", site.function.c_str(), name_of(order),
                        name_of(site.order),
                        outcome.failure.substr(0, outcome.failure.find('\n')).c_str());
        }
}

} // namespace

int main(int argc, char** argv)
{
    int passed = 0, failed = 0;
    const std::string_view only = argc > 1 ? argv[1] : "";
    for (const auto& [program, mutants, is_broken] : rows()) {
        if (std::string_view{program.name}.find(only) == std::string_view::npos)
            continue;
        const auto outcome = explore(program, {.runs = 3'000'000});
        const bool holds = outcome.is_complete && outcome.failure.empty();
        ++(holds != is_broken ? passed : failed);
        std::printf("%s: %llu runs: %s\n", program.name,
                    static_cast<unsigned long long>(outcome.runs),
                    holds == is_broken ? "FAILED"
                    : is_broken        ? "found"
                                       : "holds");
        if (!is_broken)
            std::printf("%s", outcome.failure.c_str());
        for (const auto& mutant : mutants) {
            const auto mutated = explore(program, {.runs = 3'000'000}, &mutant);
            const bool was_reached =
                std::binary_search(mutated.sites.begin(), mutated.sites.end(), mutant.site);
            const bool is_found = was_reached && !mutated.failure.empty();
            ++(is_found ? passed : failed);
            std::printf("  %s, %s in place of %s: %s after %llu runs: %s\n",
                        mutant.site.function.c_str(), name_of(mutant.order),
                        name_of(mutant.site.order),
                        is_found      ? "found"
                        : was_reached ? "NOT FOUND"
                                      : "NOT REACHED",
                        static_cast<unsigned long long>(mutated.runs),
                        mutated.failure.substr(0, mutated.failure.find('\n')).c_str());
        }
        if (argc > 2)
            survey(program, outcome.sites);
        std::fflush(stdout);
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
