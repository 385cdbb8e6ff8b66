// Transports with one deliberate fault each: the kit names the rule that it breaks.
#include "pipe.hpp"

#include "support/sanitized.hpp"

#include <doctest/doctest.h>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

TransportReport check(Fault fault, TransportCheck options = {})
{
    return check_transport<Pipe>([fault] { return std::make_unique<PipePeer>(fault); }, options);
}

struct Case {
    Fault fault;
    const char* name;
    int rule;
};
constexpr Case cases[] = {
#define CASE(fault, rule)                                                                          \
    {                                                                                              \
        Fault::fault, #fault, rule                                                                 \
    }
    CASE(connect_hangs, 1),
    CASE(connects_despite_refusal, 2),
    CASE(check_refuses, 3),
    CASE(accepts_bad_options, 3),
    CASE(loses_empty_message, 4),
    CASE(splits_message, 4),
    CASE(changes_order, 4),
    CASE(changes_kind, 4),
    CASE(puts_after_wait, 5),
    CASE(waits_after_put, 5),
    CASE(loses_refused, 6),
    CASE(puts_refused_twice, 6),
    CASE(puts_on_after_refusal, 6),
    CASE(puts_without_read, 7),
    CASE(puts_on_other_thread, 7),
    CASE(cuts_at_limit, 8),
    CASE(drops_above_limit, 8),
    CASE(keeps_lent_memory, 9),
    CASE(changes_lent_memory, 9),
    CASE(commits_unprepared, 9),
    CASE(writes_twice, 10),
    CASE(writes_half, 10),
    CASE(keeps_batch, 11),
    CASE(reads_marked_message, 11),
    CASE(marks_before_writing, 12),
    CASE(marks_too_many, 12),
    CASE(marks_less, 12),
    CASE(ping_never_ends, 13),
    CASE(pong_is_lost, 13),
    CASE(pong_has_other_payload, 13),
    CASE(close_says_nothing, 14),
    CASE(close_never_ends, 14),
    CASE(writes_after_close, 14),
    CASE(read_survives_reset, 15),
    CASE(write_survives_reset, 15),
    CASE(abort_waits, 16),
    CASE(abort_forgets_close, 16),
    CASE(abort_once_only, 16),
    CASE(read_ignores_cancellation, 17),
    CASE(close_ignores_cancellation, 17),
    CASE(throws_int, 18),
    CASE(throws_success, 18),
    CASE(spins, 19),
    CASE(never_returns_from_read, 19),
    CASE(leaves_coroutine, 20),
    CASE(leaves_timer, 20),
    CASE(leaves_memory, 20),
    CASE(leaves_descriptor, 20),
    CASE(leaves_thread, 20),
#undef CASE
};

} // namespace

TEST_CASE("conformance: a transport without a fault keeps every rule, and all are checked")
{
    const auto report = check(Fault::none);
    CHECK_MESSAGE(report.passed(), report.text());
    CHECK_MESSAGE(report.skipped.size() <= (is_sanitized ? 1 : 0), report.text());
}

TEST_CASE("conformance: each fault breaks its rule, and no other")
{
    for (const auto& each : cases) {
        if (is_sanitized && each.fault == Fault::leaves_memory)
            continue; // a sanitizer's allocator does not say how much is allocated
        if (is_sanitized && (&each - cases) % 4 != 0)
            continue; // they are slow there, and alike
        const auto report = check(each.fault, {.timeout = 1s});
        bool is_alone = report.has_broken(each.rule);
        for (const auto& broken : report.broken)
            is_alone &= broken.rule == each.rule;
        CHECK_MESSAGE(is_alone, std::string{each.name} << " breaks rule " << each.rule << "\n"
                                                       << report.text());
    }
    threads_may_end = true;
    threads_may_end.notify_all();
}

TEST_CASE("conformance: a report repeats one trial by its name, and shows its steps")
{
    const auto report = check(Fault::splits_message);
    REQUIRE(!report.broken.empty());
    const auto& first = report.broken.front();
    CHECK(first.steps.find("connect()") != std::string::npos);
    const auto again = check(Fault::splits_message, {.only = first.trial});
    REQUIRE(again.broken.size() == 1);
    CHECK(again.broken[0].saw == first.saw);
    CHECK(again.broken[0].steps == first.steps);

    const auto late = check(Fault::abort_forgets_close);
    REQUIRE(!late.broken.empty());
    CHECK(check(Fault::abort_forgets_close, {.only = late.broken.back().trial}).has_broken(16));
}

namespace {

/// Its read() never waits, and has no message.
struct ReadsNothing {
    struct Options {};
    explicit ReadsNothing(const Options&) {}
    Task<> connect(Context) { co_return; }
    Task<> read(Context, Sink&) { co_return; }
    Task<> write(Context, Batch) { co_return; }
    Task<> close(Context, CloseReason) { co_return; }
    void abort() noexcept {}
};
struct OptionsOnly : TransportPeer {
    static ReadsNothing::Options options() { return {}; }
};

} // namespace

TEST_CASE("conformance: a read that returns at once, without a message, breaks rule 19")
{
    const auto make = [] { return std::make_unique<OptionsOnly>(); };
    for (const bool is_virtual : {true, false}) {
        const auto report = check_transport<ReadsNothing>(make, {.is_virtual = is_virtual});
        CHECK_MESSAGE(report.has_broken(19), report.text());
    }
}

TEST_CASE(
    "conformance: a trial's name that there is not, and a peer that there is not, break rule 0")
{
    CHECK(check(Fault::none, {.only = "no such trial"}).has_broken(0));
    CHECK(check_transport<Pipe>([] { return std::unique_ptr<PipePeer>{}; }).has_broken(0));
}

TEST_CASE("conformance: a check that has no time left reports the rest as skipped")
{
    const auto report = check(Fault::none, {.total = Duration::zero()});
    CHECK(report.passed());
    CHECK(report.has_skipped(1));
    CHECK(report.has_skipped(20));
}
