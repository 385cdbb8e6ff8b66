// The checks of a Driver: an operation's end, and messages in both directions.
#include "driver.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sidecar::conformance {
namespace {

/// Reads that return at once without a message, in a row.
constexpr std::size_t max_empty_reads = 1000;

} // namespace

void Driver::expect_end(const Operation& operation, int rule, Duration bound, std::string_view when)
{
    if (run_until([&] { return !operation.is_running(); }, bound))
        return;
    fail(rule,
         fmt::format("{} did not end within {} ms: {}", operation.describe(),
                     std::chrono::duration_cast<std::chrono::milliseconds>(bound).count(), when));
}

void Driver::expect_success(const Operation& operation, int rule, std::string_view when)
{
    if (operation.error())
        fail(rule,
             fmt::format("{}() failed, though {}: {}", operation.name(), when,
                         to_failure(operation.error(), Error::disconnected, {}, {}).message()));
}

void Driver::expect_failure(const Operation& operation, int rule, std::string_view when)
{
    if (!operation.error())
        fail(rule,
             fmt::format("{}() returned without an exception, though {}", operation.name(), when));
    expect_error(operation);
}

/// Rule 18.
void Driver::expect_error(const Operation& operation)
{
    if (!operation.error())
        return;
    try {
        std::rethrow_exception(operation.error());
    } catch (const Exception& e) {
        if (!e.failure().code())
            fail(18, fmt::format("{}() threw an Exception without an error", operation.name()));
    } catch (const boost::system::system_error& e) {
        if (!e.code())
            fail(18, fmt::format("{}() threw a system_error whose code means success",
                                 operation.name()));
    } catch (const std::exception& e) {
        if (std::string_view{e.what()}.empty())
            fail(18, fmt::format("{}() threw an exception without a text", operation.name()));
    } catch (...) {
        fail(18, fmt::format("{}() threw what is no std::exception", operation.name()));
    }
}

void Driver::read_all()
{
    for (std::size_t i = 0; i < max_empty_reads; ++i) {
        if (!reading.is_running()) {
            if (reading.error())
                return;
            start_read();
        }
        settle();
        if (!sink.has_room()) {
            sink.make_room();
            settle();
        }
        if (reading.is_running())
            return; // it waits for the peer
    }
}

void Driver::expect_messages(const std::vector<Sample>& messages, int rule)
{
    const auto joined = [](const std::vector<Sample>& all) {
        std::string text;
        for (const auto& message : all)
            text += message.payload;
        return text;
    };
    const bool has_borders = peer().keeps_borders();
    const auto wanted = joined(messages);
    const auto its_rule = [&] { return sink.refusals() != 0 && rule == 4 ? 6 : rule; };
    const auto is_complete = [&] {
        return has_borders ? sink.taken.size() >= messages.size()
                           : joined(sink.taken).size() >= wanted.size();
    };
    const auto until = deadline_after(loop_.now(), timeout());
    while (!is_complete() && loop_.now() <= until) {
        if (!reading.is_running()) {
            expect_success(reading, its_rule(), "the peer only sent messages");
            if (!sink.has_put() && reading.resumptions() != 0
                && ++reads_without_message_ > max_empty_reads)
                fail(19, fmt::format("read() returned {} times in a row without a message",
                                     max_empty_reads));
            if (sink.has_put())
                reads_without_message_ = 0;
            start_read();
        }
        if (!run_until([&] { return !reading.is_running() || !sink.has_room(); },
                       until - loop_.now()))
            break;
        if (reading.is_running()) {
            settle(); // it waits for room, or returns
            sink.make_room();
        }
    }
    if (is_complete())
        read_all(); // for one too many
    const auto& taken = sink.taken;
    if (!has_borders) {
        if (joined(taken) != wanted)
            fail(its_rule(), fmt::format("the peer sent {}, and read() put {}", show(wanted),
                                         show(joined(taken))));
        return;
    }
    for (std::size_t i = 0; i < std::max(taken.size(), messages.size()); ++i) {
        if (i >= taken.size())
            fail(its_rule(), fmt::format("message {} of {} never arrived: {}", i + 1,
                                         messages.size(), show(messages[i].payload)));
        if (i >= messages.size())
            fail(its_rule(), fmt::format("the peer sent {} messages, and read() put one more: {}",
                                         messages.size(), show(taken[i].payload)));
        if (taken[i].payload != messages[i].payload)
            fail(its_rule(),
                 fmt::format("message {} of {} is {}, and read() put {}", i + 1, messages.size(),
                             show(messages[i].payload), show(taken[i].payload)));
        if (taken[i].kind != messages[i].kind)
            fail(its_rule(), fmt::format("message {} has another kind than the peer sent", i + 1));
    }
}

void Driver::expect_received(const std::vector<Sample>& messages, int rule)
{
    const bool has_borders = peer().keeps_borders();
    std::string wanted, got;
    for (const auto& message : messages)
        wanted += message.payload;
    std::vector<PeerMessage> received;
    const auto is_complete = [&] {
        received = *peer().received();
        if (has_borders)
            return received.size() >= messages.size();
        got.clear();
        for (const auto& message : received)
            got += message.payload;
        return got.size() >= wanted.size();
    };
    need(peer().received().has_value(), rule, "received()");
    (void)run_until(is_complete, timeout());
    settle();
    (void)is_complete();
    const auto rule_of = [&](const std::string& payload) {
        return payload.find(scrambled) != payload.npos ? 11 : rule; // read when it was too late
    };
    if (!has_borders) {
        if (got != wanted)
            fail(rule_of(got),
                 fmt::format("write() got {}, and the peer received {}", show(wanted), show(got)));
        return;
    }
    for (std::size_t i = 0; i < std::max(received.size(), messages.size()); ++i) {
        if (i >= received.size())
            fail(rule, fmt::format("the peer never received message {} of {}: {}", i + 1,
                                   messages.size(), show(messages[i].payload)));
        const auto& payload = received[i].payload;
        if (i >= messages.size())
            fail(rule, fmt::format("the peer received one more than the {} messages: {}",
                                   messages.size(), show(payload)));
        if (payload != messages[i].payload)
            fail(rule_of(payload),
                 fmt::format("message {} of {} is {}, and the peer received {}", i + 1,
                             messages.size(), show(messages[i].payload), show(payload)));
        if (received[i].kind && *received[i].kind != messages[i].kind)
            fail(rule, fmt::format("the peer received message {} as another kind", i + 1));
    }
}

} // namespace sidecar::conformance
