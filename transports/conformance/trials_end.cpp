// Trials of everything that ends: close(), the peer's ends, cancellation, abort(); drawn trials.
#include "driver.hpp"

#include <fmt/format.h>

namespace sidecar::conformance {
namespace {

// --- moments

/// A state of a connection, with an operation that waits in it.
struct Moment {
    std::string name;
    std::function<Operation&(Driver&)> begin;
    /// Lets the peer go on once the operation waits; false: it has nothing more to do.
    std::function<bool(Driver&, unsigned)> poke{};
};

/// Starts a write while the peer takes nothing, so that it waits if the transport lets it.
void hold_write(Driver& d)
{
    const auto bytes = d.peer().hold();
    Driver::need(bytes.has_value(), 16, "hold()");
    std::vector<Sample> messages;
    for (std::size_t total = 0; total <= *bytes || messages.size() < 3;) {
        messages.push_back(d.sample(16'384));
        total += messages.back().payload.size();
    }
    d.start_write(messages);
    d.settle();
}

void connect_and_read(Driver& d)
{
    d.connect();
    d.start_read();
}

void need_ping(Driver& d)
{
    if (!d.config().can_ping())
        throw TrialSkipped{13, "the transport has no ping()"};
}

std::vector<Moment> moments()
{
    std::vector<Moment> all;
    all.push_back({"connect", [](Driver& d) -> Operation& {
                       d.start_connect();
                       return d.connecting;
                   }});
    all.push_back({"a connect that the peer never answers", [](Driver& d) -> Operation& {
                       Driver::need(d.peer().hold_connect(), 16, "hold_connect()");
                       d.start_connect();
                       return d.connecting;
                   }});
    all.push_back({"a read", [](Driver& d) -> Operation& {
                       connect_and_read(d);
                       return d.reading;
                   }});
    all.push_back({"a read of a message in pieces",
                   [](Driver& d) -> Operation& {
                       connect_and_read(d);
                       return d.reading;
                   },
                   [](Driver& d, unsigned n) {
                       const std::string message(200, 'x');
                       constexpr unsigned count = 4;
                       return n + 1 < count && d.carries(MessageKind::binary, message)
                              && d.peer().deliver_part(MessageKind::binary, message, n, count);
                   }});
    all.push_back({"a read without room", [](Driver& d) -> Operation& {
                       d.connect();
                       for (const auto& message : d.samples(5, 20))
                           Driver::need(d.peer().deliver(message.kind, message.payload), 16,
                                        "deliver()");
                       d.settle();
                       d.sink.refuse_at = 2;
                       d.sink.refusals_left = 1;
                       d.start_read();
                       return d.reading;
                   }});
    all.push_back({"a write", [](Driver& d) -> Operation& {
                       connect_and_read(d);
                       d.start_write(d.samples(20, 20'000));
                       return d.writing;
                   }});
    all.push_back({"a write while the peer takes nothing", [](Driver& d) -> Operation& {
                       connect_and_read(d);
                       hold_write(d);
                       return d.writing;
                   }});
    all.push_back({"a ping", [](Driver& d) -> Operation& {
                       need_ping(d);
                       connect_and_read(d);
                       d.start_ping("12345678");
                       return d.pinging;
                   }});
    all.push_back({"a ping that the peer does not take", [](Driver& d) -> Operation& {
                       need_ping(d);
                       connect_and_read(d);
                       hold_write(d);
                       d.start_ping("12345678");
                       return d.pinging;
                   }});
    all.push_back({"a close", [](Driver& d) -> Operation& {
                       connect_and_read(d);
                       d.settle();
                       d.start_close();
                       return d.closing;
                   }});
    all.push_back({"a close that the peer never answers", [](Driver& d) -> Operation& {
                       connect_and_read(d);
                       d.settle();
                       Driver::need(d.peer().hold_close(), 16, "hold_close()");
                       d.start_close();
                       return d.closing;
                   }});
    all.push_back({"a close while a write waits", [](Driver& d) -> Operation& {
                       connect_and_read(d);
                       hold_write(d);
                       d.start_close();
                       return d.closing;
                   }});
    return all;
}

/// Cancels, or aborts, at the first, second, ... resumption of the moment's operation.
void interrupt(Trials& trials, const Moment& moment, bool by_abort)
{
    constexpr unsigned max_resumptions = 40;
    for (unsigned n = 0; n <= max_resumptions; ++n) {
        bool was_reached = false;
        const auto rule = by_abort ? 16 : 17;
        const auto name =
            fmt::format("{} {} at resumption {}", by_abort ? "abort" : "cancel", moment.name, n);
        const bool is_good =
            trials.run({rule, name, [&](Driver& d) {
                            auto& operation = moment.begin(d);
                            was_reached = d.run_to(operation, n);
                            for (unsigned poke = 0; !was_reached && operation.is_running()
                                                    && moment.poke && moment.poke(d, poke);
                                 ++poke) {
                                d.note("the peer goes on");
                                was_reached = d.run_to(operation, n);
                            }
                            if (!by_abort && operation.is_running()) {
                                d.cancel(operation);
                                d.expect_end(operation, 17, d.soon(), "it was cancelled");
                            }
                            d.finish();
                        }});
        if (!is_good || (!was_reached && trials.options().only.empty()))
            return;
    }
}

// --- abort in every state

void abort_in_every_state(Trials& trials)
{
    trials.run({16, "abort before connect", [](Driver& d) { d.finish(); }});
    trials.run({16, "abort twice before connect", [](Driver& d) {
                    d.abort();
                    d.finish();
                }});
    trials.run({16, "abort twice", [](Driver& d) {
                    connect_and_read(d);
                    d.settle();
                    d.abort();
                    d.abort();
                    d.finish();
                }});
    trials.run({16, "abort twice after everything has ended", [](Driver& d) {
                    connect_and_read(d);
                    d.abort();
                    d.expect_end(d.reading, 16, d.soon(), "abort() was called");
                    d.abort();
                    d.finish();
                }});
    trials.run({16, "abort all operations at once", [](Driver& d) {
                    connect_and_read(d);
                    if (d.peer().hold())
                        hold_write(d);
                    if (d.config().can_ping())
                        d.start_ping("12345678");
                    (void)d.peer().hold_close();
                    d.settle();
                    d.start_close();
                    d.settle();
                    d.finish();
                }});
    trials.run({16, "abort after a close", [](Driver& d) {
                    connect_and_read(d);
                    d.settle();
                    d.start_close();
                    (void)d.run_until([&] { return !d.closing.is_running(); }, d.timeout());
                    d.abort();
                    d.finish();
                }});
    trials.run({16, "abort after the peer has broken the connection", [](Driver& d) {
                    connect_and_read(d);
                    d.settle();
                    Driver::need(d.peer().reset(), 16, "reset()");
                    d.expect_end(d.reading, 15, d.timeout(), "the peer broke the connection");
                    d.abort();
                    d.finish();
                }});
}

// --- closing

void close_connections(Trials& trials)
{
    trials.run({14, "close", [](Driver& d) {
                    connect_and_read(d);
                    d.settle();
                    const CloseReason reason{.code = 1001, .reason = "the kit is leaving"};
                    d.start_close(reason);
                    d.expect_end(d.closing, 14, d.timeout(), "the peer answers a close");
                    d.expect_success(d.closing, 14, "the peer answers a close");
                    if (const auto closed = d.peer().was_closed())
                        if (!d.run_until([&] { return *d.peer().was_closed(); }, d.timeout()))
                            d.fail(14, "close() returned, and the peer saw no close");
                    if (const auto got = d.peer().close_reason(); got && !(*got == reason))
                        d.fail(14, fmt::format("close() got code {} and \"{}\", and the peer "
                                               "received {} and \"{}\"",
                                               reason.code, reason.reason, got->code, got->reason));
                    d.finish();
                }});
    trials.run({14, "close after messages", [](Driver& d) {
                    d.connect();
                    const auto messages = d.samples(20, 1000);
                    d.start_read();
                    d.start_write(messages);
                    d.expect_end(d.writing, 10, d.timeout(), "the peer takes all");
                    d.start_close();
                    d.expect_end(d.closing, 14, d.timeout(), "the peer answers a close");
                    d.expect_success(d.closing, 14, "the peer answers a close");
                    d.expect_received(messages, 14);
                    d.finish();
                }});
    trials.run({14, "close while messages arrive", [](Driver& d) {
                    d.connect();
                    for (const auto& message : d.samples(20, 1000))
                        Driver::need(d.peer().deliver(message.kind, message.payload), 14,
                                     "deliver()");
                    d.start_read();
                    d.start_close();
                    const auto end = deadline_after(d.loop().now(), d.timeout());
                    while (d.closing.is_running() && d.loop().now() < end) {
                        if (!d.reading.is_running() && !d.reading.error())
                            d.start_read(); // as the library does until close() has returned
                        if (!d.run_until(
                                [&] {
                                    return !d.closing.is_running()
                                           || (!d.reading.is_running() && !d.reading.error());
                                },
                                end - d.loop().now()))
                            break;
                    }
                    d.expect_end(d.closing, 14, Duration{}, "the peer answers a close");
                    d.finish();
                }});
    trials.run({14, "close while a write waits", [](Driver& d) {
                    connect_and_read(d);
                    hold_write(d);
                    const bool waits = d.writing.is_running();
                    const auto before = d.peer().received();
                    d.start_close();
                    d.settle();
                    if (d.closing.is_running()) { // the library aborts once it has ended
                        d.peer().release();
                        d.note("the peer takes all");
                        (void)d.run_until([&] { return !d.closing.is_running(); }, d.timeout());
                        d.settle();
                    }
                    if (waits && before && !d.writing.is_running() && !d.writing.error())
                        d.fail(14, "the rest of a write() was written after close() had begun");
                    d.finish();
                }});
    trials.run({14, "close after the peer has closed", [](Driver& d) {
                    connect_and_read(d);
                    d.settle();
                    Driver::need(d.peer().close(), 14, "close()");
                    d.start_close();
                    d.expect_end(d.reading, 15, d.timeout(), "the peer closed");
                    d.finish();
                }});
    trials.run({14, "close after the peer has broken the connection", [](Driver& d) {
                    connect_and_read(d);
                    d.settle();
                    Driver::need(d.peer().reset(), 14, "reset()");
                    d.start_close();
                    d.expect_end(d.reading, 15, d.timeout(), "the peer broke the connection");
                    d.finish();
                }});
}

// --- the peer's ends

void end_by_peer(Trials& trials)
{
    trials.run({2, "connect to a peer that refuses", [](Driver& d) {
                    Driver::need(d.peer().refuse_connect(), 2, "refuse_connect()");
                    d.start_connect();
                    d.expect_end(d.connecting, 2, d.timeout(), "the peer refuses");
                    d.expect_failure(d.connecting, 2, "the peer refuses");
                    d.finish();
                }});
    trials.run({15, "reset", [](Driver& d) {
                    connect_and_read(d);
                    d.settle();
                    Driver::need(d.peer().reset(), 15, "reset()");
                    d.note("the peer breaks the connection");
                    d.expect_end(d.reading, 15, d.timeout(), "the peer broke the connection");
                    d.expect_failure(d.reading, 15, "the peer broke the connection");
                    d.finish();
                }});
    trials.run({15, "reset in the middle of a message", [](Driver& d) {
                    connect_and_read(d);
                    const auto message = d.sample(200);
                    Driver::need(d.peer().deliver_part(message.kind, message.payload, 0, 2), 15,
                                 "deliver_part()");
                    d.settle();
                    if (!d.reading.is_running())
                        throw TrialSkipped{15, "its protocol has no message in pieces"};
                    Driver::need(d.peer().reset(), 15, "reset()");
                    d.expect_end(d.reading, 15, d.timeout(), "the peer broke the connection");
                    d.expect_failure(d.reading, 15, "the peer broke the connection");
                    if (!d.sink.taken.empty())
                        d.fail(4, "read() put a message that had only arrived in part");
                    d.finish();
                }});
    struct Mode {
        const char* name;
        bool settles, prepares;
    };
    for (const auto& mode :
         {Mode{"the peer sends messages and closes", true, false},
          Mode{"the peer sends messages and closes at once", false, false},
          Mode{"the peer sends messages into prepared memory and closes at once", false, true}})
        trials.run(
            {15, mode.name, [=](Driver& d) {
                 d.sink.lends_memory = d.sink.prepares = mode.prepares;
                 d.connect();
                 auto messages = d.samples(3, 100);
                 if (d.config().max_message_bytes() >= 60'000)
                     messages.push_back(d.sample(60'000));
                 for (const auto& message : messages)
                     Driver::need(d.peer().deliver(message.kind, message.payload), 15, "deliver()");
                 if (mode.settles)
                     d.expect_messages(messages, 4);
                 Driver::need(d.peer().close(), 15, "close()");
                 d.note("the peer closes");
                 d.settle();
                 if (!mode.settles)
                     d.expect_messages(messages, 15);
                 const auto end = deadline_after(d.loop().now(), d.timeout());
                 while (d.loop().now() < end && (d.reading.is_running() || !d.reading.error())) {
                     if (!d.reading.is_running())
                         d.start_read();
                     if (!d.run_until([&] { return !d.reading.is_running(); },
                                      end - d.loop().now()))
                         break;
                 }
                 d.expect_end(d.reading, 15, Duration{}, "the peer closed");
                 d.expect_failure(d.reading, 15, "the peer closed");
                 d.finish();
             }});
    trials.run({15, "the peer closes while a write waits", [](Driver& d) {
                    connect_and_read(d);
                    hold_write(d);
                    Driver::need(d.peer().reset(), 15, "reset()");
                    d.expect_end(d.writing, 15, d.timeout(), "the peer broke the connection");
                    d.expect_end(d.reading, 15, d.timeout(), "the peer broke the connection");
                    d.expect_failure(d.reading, 15, "the peer broke the connection");
                    d.finish();
                }});
}

} // namespace

void run_end_trials(Trials& trials)
{
    close_connections(trials);
    end_by_peer(trials);
    abort_in_every_state(trials);
    for (const auto& moment : moments())
        for (const bool by_abort : {false, true})
            interrupt(trials, moment, by_abort);
}

} // namespace sidecar::conformance
