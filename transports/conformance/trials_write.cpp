// Trials of write() and ping().
#include "driver.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sidecar::conformance {
namespace {

/// Sends messages, with a read beside as in the library.
void write(Driver& d, const std::vector<Sample>& messages)
{
    if (!d.reading.is_running())
        d.start_read();
    d.start_write(messages);
    d.expect_end(d.writing, 10, d.timeout(), "the peer takes all");
    d.expect_success(d.writing, 10, "the peer takes all");
}

void append(std::vector<Sample>& to, const std::vector<Sample>& more)
{
    to.insert(to.end(), more.begin(), more.end());
}

void write_messages(Trials& trials)
{
    trials.run({10, "write messages one by one", [](Driver& d) {
                    d.connect();
                    std::vector<Sample> all;
                    for (int i = 0; i < 5; ++i) {
                        const auto message = d.sample(10);
                        write(d, {message});
                        all.push_back(message);
                        d.expect_received(all, 10);
                    }
                    d.finish();
                }});
    trials.run({10, "write batches of many messages", [](Driver& d) {
                    d.connect();
                    std::vector<Sample> all;
                    for (const std::size_t count : {1u, 2u, 1000u, 3u}) {
                        const auto batch = d.samples(count, 30);
                        write(d, batch);
                        append(all, batch);
                    }
                    d.expect_received(all, 10);
                    d.finish();
                }});
    trials.run({10, "write messages of all sizes", [](Driver& d) {
                    d.connect();
                    std::vector<Sample> all;
                    for (const std::size_t size : {0u, 1u, 125u, 126u, 127u, 4096u, 32767u, 32768u,
                                                   65535u, 65536u, 300'000u, 1'048'576u})
                        all.push_back(d.sample(size));
                    std::string bytes;
                    for (int i = 0; i < 512; ++i)
                        bytes += static_cast<char>(i);
                    for (const auto kind : {MessageKind::binary, MessageKind::text})
                        if (d.carries(kind, bytes))
                            all.push_back({kind, bytes});
                    write(d, all);
                    d.expect_received(all, 10);
                    d.finish();
                }});
    trials.run({10, "write while messages arrive", [](Driver& d) {
                    d.connect();
                    const auto out = d.samples(50, 100), in = d.samples(50, 100);
                    d.start_read();
                    d.start_write(out);
                    for (const auto& message : in)
                        Driver::need(d.peer().deliver(message.kind, message.payload), 10,
                                     "deliver()");
                    d.expect_messages(in, 4);
                    d.expect_end(d.writing, 10, d.timeout(), "the peer takes all");
                    d.expect_success(d.writing, 10, "the peer takes all");
                    d.expect_received(out, 10);
                    d.finish();
                }});
}

/// Starts a write while the peer takes nothing; returns its messages. Skips the trial if the
/// write does not wait.
std::vector<Sample> write_to_holding_peer(Driver& d, int rule, std::size_t message_bytes)
{
    const auto bytes = d.peer().hold();
    Driver::need(bytes.has_value(), rule, "hold()");
    d.note("the peer takes nothing");
    std::vector<Sample> messages;
    for (std::size_t total = 0; total <= *bytes || messages.size() < 3;) {
        messages.push_back(d.sample(message_bytes));
        total += messages.back().payload.size();
    }
    if (!d.reading.is_running())
        d.start_read();
    d.start_write(messages);
    d.settle();
    if (!d.writing.is_running())
        throw TrialSkipped{rule, "a write() does not wait while the peer takes nothing"};
    return messages;
}

/// Rule 12, after a write that failed: what the peer has is marked, and what it cannot have is not.
void check_marks(Driver& d, std::size_t received_before, bool takes_nothing_unasked)
{
    const auto received = d.peer().received();
    Driver::need(received.has_value(), 12, "received()");
    const auto count = received->size() - std::min(received->size(), received_before);
    const auto marked = d.batch().marked();
    if (marked != 0 && count > marked)
        d.fail(12, fmt::format("the peer received {} messages of a failed write(), and {} were "
                               "marked",
                               count, marked));
    if (takes_nothing_unasked && marked > count)
        d.fail(12, fmt::format("{} messages of a failed write() were marked, and the peer received "
                               "{}",
                               marked, count));
}

void mark_messages(Trials& trials)
{
    trials.run({12, "mark messages while the peer takes nothing", [](Driver& d) {
                    d.connect();
                    const auto messages = write_to_holding_peer(d, 12, 16'384);
                    if (d.batch().marked() >= d.batch().size())
                        d.fail(12, fmt::format("write() marked all {} messages while it still "
                                               "waits for the peer to take them",
                                               d.batch().marked()));
                    if (d.peer().hold() == std::size_t{0} && d.batch().marked() != 0)
                        d.fail(12, fmt::format("write() marked {} messages, and the peer has taken "
                                               "none",
                                               d.batch().marked()));
                    d.peer().release();
                    d.note("the peer takes all");
                    d.expect_end(d.writing, 10, d.timeout(), "the peer takes all");
                    d.expect_success(d.writing, 10, "the peer takes all");
                    d.expect_received(messages, 10);
                    d.finish();
                }});
    trials.run({12, "mark one large message while the peer takes nothing", [](Driver& d) {
                    d.connect();
                    const auto bytes = d.peer().hold();
                    Driver::need(bytes.has_value(), 12, "hold()");
                    const auto large = d.sample(std::max<std::size_t>(2 * *bytes, 1000));
                    if (large.payload.size() <= *bytes)
                        throw TrialSkipped{12, "its protocol carries no message that is larger "
                                               "than the buffers"};
                    d.start_read();
                    d.start_write({large});
                    d.settle();
                    if (d.writing.is_running() && d.batch().marked() != 0)
                        d.fail(12, "write() marked its only message while it still waits for the "
                                   "peer to take it");
                    d.peer().release();
                    d.expect_end(d.writing, 10, d.timeout(), "the peer takes all");
                    d.expect_success(d.writing, 10, "the peer takes all");
                    d.expect_received({large}, 10);
                    d.finish();
                }});
    for (const std::size_t count : {0u, 1u, 2u, 7u})
        trials.run({12, fmt::format("reset after {} messages of a write", count), [&](Driver& d) {
                        d.connect();
                        d.start_read();
                        const bool is_in_memory = d.peer().hold() == std::size_t{0};
                        d.peer().release();
                        Driver::need(d.peer().reset_after(count), 12, "reset_after()");
                        d.start_write(d.samples(20, 50'000));
                        d.expect_end(d.writing, 15, d.timeout(), "the peer broke the connection");
                        const bool has_failed = d.writing.error() != nullptr;
                        if (has_failed) {
                            d.expect_failure(d.writing, 15, "the peer broke the connection");
                            check_marks(d, 0, is_in_memory);
                        }
                        d.finish();
                    }});
    trials.run({12, "reset while a write waits", [](Driver& d) {
                    d.connect();
                    (void)write_to_holding_peer(d, 12, 16'384);
                    const bool is_in_memory = d.peer().hold() == std::size_t{0};
                    Driver::need(d.peer().reset(), 12, "reset()");
                    d.note("the peer breaks the connection");
                    d.expect_end(d.writing, 15, d.timeout(), "the peer broke the connection");
                    d.expect_failure(d.writing, 15, "the peer broke the connection");
                    check_marks(d, 0, is_in_memory);
                    d.finish();
                }});
}

void ping(Trials& trials)
{
    const auto need_ping = [](Driver& d) {
        if (!d.config().can_ping())
            throw TrialSkipped{13, "the transport has no ping()"};
    };
    trials.run(
        {13, "ping", [=](Driver& d) {
             need_ping(d);
             d.connect();
             for (const std::string payload : {"\1\2\3\4\5\6\7\10", "12345678", "87654321"}) {
                 const auto pongs = d.sink.pongs.size();
                 d.read_all();
                 d.start_ping(payload);
                 d.expect_end(d.pinging, 13, d.timeout(), "the peer takes the ping");
                 d.expect_success(d.pinging, 13, "the peer takes the ping");
                 if (!d.peer().answers_pings())
                     continue;
                 const auto end = deadline_after(d.loop().now(), d.timeout());
                 while (d.sink.pongs.size() == pongs && d.loop().now() < end) {
                     d.expect_success(d.reading, 13, "the peer answered a ping");
                     if (!d.reading.is_running())
                         d.start_read();
                     if (!d.run_until(
                             [&] {
                                 return !d.reading.is_running() || d.sink.pongs.size() != pongs;
                             },
                             end - d.loop().now()))
                         break;
                 }
                 if (d.sink.pongs.size() == pongs)
                     d.fail(13, "Sink::on_pong() was not called for a ping (a peer that "
                                "gives no answer overrides answers_pings())");
                 if (d.sink.pongs.back() != payload)
                     d.fail(13, "Sink::on_pong() got another payload than the ping's");
             }
             d.finish();
         }});
    trials.run({13, "ping beside a write", [=](Driver& d) {
                    need_ping(d);
                    d.connect();
                    const auto messages = d.samples(30, 40'000);
                    d.start_read();
                    d.start_write(messages);
                    d.start_ping("12345678");
                    for (const auto* operation : {&d.pinging, &d.writing}) {
                        d.expect_end(*operation, operation == &d.pinging ? 13 : 10, d.timeout(),
                                     "the peer takes all");
                        d.expect_success(*operation, operation == &d.pinging ? 13 : 10,
                                         "the peer takes all");
                    }
                    d.expect_received(messages, 10);
                    d.finish();
                }});
    trials.run({13, "ping while the peer takes nothing", [=](Driver& d) {
                    need_ping(d);
                    d.connect();
                    const auto messages = write_to_holding_peer(d, 13, 16'384);
                    d.start_ping("12345678");
                    d.settle();
                    d.peer().release();
                    d.expect_end(d.pinging, 13, d.timeout(), "the peer takes all again");
                    d.expect_success(d.pinging, 13, "the peer takes all again");
                    d.expect_end(d.writing, 10, d.timeout(), "the peer takes all again");
                    d.expect_received(messages, 10);
                    d.finish();
                }});
}

} // namespace

void run_write_trials(Trials& trials)
{
    write_messages(trials);
    mark_messages(trials);
    ping(trials);
}

} // namespace sidecar::conformance
