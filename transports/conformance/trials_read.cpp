// Trials of read(), and of the calls before a connection.
#include "driver.hpp"

#include <fmt/format.h>

namespace sidecar::conformance {
namespace {

/// How the sink of a trial behaves.
struct SinkMode {
    const char* name;
    bool lends_memory, prepares;
    int rule; ///< of a message that arrives changed
};
constexpr SinkMode sink_modes[] = {
    {"", false, false, 4},
    {" into the sink's memory", true, false, 9},
    {" into prepared memory", true, true, 9},
};

void use(Driver& d, const SinkMode& mode)
{
    d.sink.lends_memory = mode.lends_memory;
    d.sink.prepares = mode.prepares;
}

void deliver(Driver& d, const Sample& message, int rule)
{
    Driver::need(d.peer().deliver(message.kind, message.payload), rule, "deliver()");
    d.note(fmt::format("the peer sends {}", show(message.payload)));
}

void deliver(Driver& d, const std::vector<Sample>& messages, int rule)
{
    for (const auto& message : messages)
        deliver(d, message, rule);
}

std::vector<Sample> samples_of_all_sizes(Driver& d)
{
    const auto limit = d.config().max_message_bytes();
    std::vector<Sample> messages;
    for (const std::size_t size : {0u, 1u, 2u, 125u, 126u, 127u, 128u, 4096u, 16384u, 32767u,
                                   32768u, 65535u, 65536u, 70000u})
        if (size <= limit)
            messages.push_back(d.sample(size));
    // Every value of a byte
    std::string bytes;
    for (int i = 0; i < 512; ++i)
        bytes += static_cast<char>(i);
    for (const auto kind : {MessageKind::binary, MessageKind::text})
        if (bytes.size() <= limit && d.carries(kind, bytes))
            messages.push_back({kind, bytes});
    return messages;
}

void read_by_itself(Trials& trials)
{
    trials.run({5, "read what comes", [](Driver& d) {
                    d.connect();
                    const auto probe = d.sample(10);
                    if (d.peer().deliver(probe.kind, probe.payload))
                        return d.finish(); // the other trials know what comes
                    for (int i = 0; i < 5; ++i) {
                        d.start_read();
                        if (!d.run_until([&] { return !d.reading.is_running(); }, d.timeout()))
                            break; // nothing comes without the peer
                        d.expect_success(d.reading, 4, "the peer did nothing");
                    }
                    d.finish();
                }});
}

void read_messages(Trials& trials, const SinkMode& mode)
{
    const auto name = [&](const char* what) { return fmt::format("{}{}", what, mode.name); };
    trials.run({mode.rule, name("read messages one by one"), [&](Driver& d) {
                    use(d, mode);
                    d.connect();
                    std::vector<Sample> all;
                    for (int i = 0; i < 5; ++i) {
                        all.push_back(d.sample(10));
                        deliver(d, all.back(), mode.rule);
                        d.expect_messages(all, mode.rule);
                    }
                    d.finish();
                }});
    trials.run({mode.rule, name("read many messages at once"), [&](Driver& d) {
                    use(d, mode);
                    d.connect();
                    const auto all = d.samples(500, 40);
                    deliver(d, all, mode.rule);
                    d.settle();
                    d.expect_messages(all, mode.rule);
                    d.finish();
                }});
    trials.run({mode.rule, name("read messages of all sizes"), [&](Driver& d) {
                    use(d, mode);
                    d.connect();
                    const auto all = samples_of_all_sizes(d);
                    deliver(d, all, mode.rule);
                    d.expect_messages(all, mode.rule);
                    d.finish();
                }});
    for (const std::size_t bytes : {6u, 300u, 60'000u})
        trials.run({mode.rule,
                    fmt::format("{} of {} bytes", name("read messages in pieces"), bytes),
                    [&](Driver& d) {
                        use(d, mode);
                        d.connect();
                        std::vector<Sample> all;
                        for (const std::size_t count : {2u, 3u, 9u}) {
                            all.push_back(d.sample(bytes));
                            const auto& message = all.back();
                            for (std::size_t i = 0; i < count; ++i) {
                                Driver::need(
                                    d.peer().deliver_part(message.kind, message.payload, i, count),
                                    mode.rule, "deliver_part()");
                                d.note(fmt::format("the peer sends part {} of {}", i + 1, count));
                                if (!d.reading.is_running() && !d.reading.error())
                                    d.start_read();
                                d.settle();
                            }
                            d.expect_messages(all, mode.rule);
                        }
                        d.finish();
                    }});
}

/// Rule 6: a sink without room.
void refuse_messages(Trials& trials, const SinkMode& mode)
{
    const auto run = [&](const std::string& name, std::size_t refuse_at, std::size_t refusals) {
        trials.run({6, name + mode.name, [&](Driver& d) {
                        use(d, mode);
                        d.connect();
                        std::vector<Sample> all;
                        for (const std::size_t bytes : {5u, 200u, 3000u, 40'000u, 5u, 6u, 7u, 8u})
                            if (bytes <= d.config().max_message_bytes())
                                all.push_back(d.sample(bytes));
                        deliver(d, all, 6);
                        d.settle();
                        d.sink.refuse_at = refuse_at;
                        d.sink.refusals_left = refusals;
                        d.expect_messages(all, 6);
                        if (d.sink.refusals() == 0)
                            throw TrialSkipped{6, "no read put so many messages that one could be "
                                                  "refused"};
                        d.finish();
                    }});
    };
    for (const std::size_t n : {2u, 3u, 5u})
        run(fmt::format("refuse put {}", n), n, 1);
    run("refuse each second put", 2, 1000);
}

void read_at_the_limit(Trials& trials)
{
    trials.run({8, "read a message of the limit", [](Driver& d) {
                    d.connect();
                    const auto limit = d.config().max_message_bytes();
                    const auto largest = d.sample(limit);
                    if (largest.payload.size() != limit)
                        throw TrialSkipped{8, "its protocol carries no message of the limit"};
                    deliver(d, largest, 8);
                    d.expect_messages({largest}, 8);
                    d.finish();
                }});
    for (const std::size_t more : {1u, 1000u})
        trials.run(
            {8, fmt::format("read a message of the limit and {} bytes", more), [&](Driver& d) {
                 d.connect();
                 const auto size = d.config().max_message_bytes() + more;
                 const auto message = d.sample(size), next = d.sample(10);
                 if (message.payload.size() != size || !d.peer().keeps_borders())
                     throw TrialSkipped{8, "its protocol carries no message above the "
                                           "limit"};
                 deliver(d, message, 8);
                 deliver(d, next, 8);
                 const auto end = deadline_after(d.loop().now(), d.timeout());
                 while (d.loop().now() < end && d.sink.taken.empty()) {
                     if (!d.reading.is_running() && d.reading.error())
                         break;
                     if (!d.reading.is_running())
                         d.start_read();
                     (void)d.run_until([&] { return !d.reading.is_running(); },
                                       end - d.loop().now());
                 }
                 if (!d.sink.taken.empty())
                     d.fail(8, fmt::format("read() put {} after the peer had sent a message "
                                           "of {} bytes",
                                           show(d.sink.taken[0].payload), size));
                 d.expect_end(d.reading, 8, {}, "the peer sent more than the limit");
                 d.expect_failure(d.reading, 8, "the peer sent more than the limit");
                 d.finish();
             }});
}

void forms(Trials& trials)
{
    trials.run(
        {3, "check the options", [](Driver& d) {
             const auto threw = [&](const char* what) {
                 d.fail(3,
                        fmt::format(
                            "{} threw: {}", what,
                            to_failure(std::current_exception(), Error::misuse, {}, {}).message()));
             };
             try {
                 (void)d.config().endpoint();
             } catch (...) {
                 threw("endpoint()");
             }
             std::optional<Failure> why;
             try {
                 if (const auto checked = d.config().check(); !checked)
                     why = checked.error();
             } catch (...) {
                 threw("check()");
             }
             if (why)
                 d.fail(3, "check() refuses the options that lead to the peer: " + why->message());
             if (d.config().max_message_bytes() == 0)
                 d.fail(3, "max_message_bytes is 0");
             const auto liveness = d.config().default_liveness();
             if (liveness.ping_interval < Duration{} || liveness.ping_timeout < Duration{})
                 d.fail(3, "default_liveness() has a negative time");
             if (!d.config().can_ping() && liveness.ping_interval > Duration{})
                 d.note("default_liveness() has a ping_interval, for a heartbeat alone");
             for (const std::size_t size : {0u, 1u, 1000u, 100'000u}) {
                 const std::string text(size, 'a');
                 for (const auto kind : {MessageKind::text, MessageKind::binary}) {
                     const auto bytes = std::as_bytes(std::span{text});
                     bool first = false, second = false;
                     try {
                         first = d.config().check_send(kind, bytes).has_value();
                         second = d.config().check_send(kind, bytes).has_value();
                     } catch (...) {
                         threw("check_send()");
                     }
                     if (first != second)
                         d.fail(3, "check_send() gives two answers for one message");
                 }
             }
             d.finish();
         }});
    trials.run({3, "check bad options", [](Driver& d) {
                    Driver::need(!d.bad_configs().empty(), 3, "bad_options()");
                    std::size_t number = 0;
                    for (const auto& bad : d.bad_configs()) {
                        ++number;
                        bool is_accepted = false;
                        try {
                            is_accepted = bad->check().has_value();
                        } catch (...) {
                            d.fail(3, fmt::format("check() threw for bad_options()[{}]; it must "
                                                  "return a Failure",
                                                  number - 1));
                        }
                        if (is_accepted)
                            d.fail(3, fmt::format("check() accepts bad_options()[{}]", number - 1));
                    }
                    d.finish();
                }});
}

} // namespace

void run_read_trials(Trials& trials)
{
    forms(trials);
    read_by_itself(trials);
    for (const auto& mode : sink_modes) {
        read_messages(trials, mode);
        refuse_messages(trials, mode);
    }
    read_at_the_limit(trials);
    trials.run(
        {19, "wait without messages", [](Driver& d) {
             constexpr int max_empty = 100;
             d.connect();
             d.start_read();
             d.settle();
             for (int empty = 1; !d.reading.is_running() && !d.reading.error() && !d.sink.has_put();
                  ++empty) {
                 if (empty == max_empty)
                     d.fail(19, fmt::format("read() returned at once, without a message, {} times",
                                            max_empty));
                 d.start_read();
                 d.settle();
             }
             const auto before = d.loop().steps();
             constexpr unsigned max_steps = 1000;
             const auto idle = d.loop().is_virtual() ? Duration{std::chrono::minutes{1}}
                                                     : Duration{std::chrono::milliseconds{50}};
             (void)d.run_until(
                 [&] { return !d.reading.is_running() || d.loop().steps() - before > max_steps; },
                 idle);
             if (d.loop().steps() - before > max_steps)
                 d.fail(19,
                        fmt::format("more than {} handlers ran while nothing happened", max_steps));
             d.finish();
         }});
}

} // namespace sidecar::conformance
