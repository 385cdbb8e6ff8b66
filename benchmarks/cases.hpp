// The cases: written once, for every competitor that is a client of a stream.
#pragma once

#include "harness.hpp"
#include "peer.hpp"

#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace bench {

/// A competitor's adaptor. All calls are made on the application's thread. Constructed: connected.
template <class C>
concept Client = std::constructible_from<C, const Job&> // connected
                 && requires(C client, bool (&handler)(Bytes), Bytes message) {
                        // Waits for messages and calls the handler with each, as long as that
                        // returns true
                        client.receive_while(handler);
                        client.send(message); // returns when the library has the message
                        client.stop();        // closes politely and joins all threads
                    };

template <Client C>
void measure_ingest(const Job& job, Samples& samples)
{
    C client{job};
    Meter meter{job};
    client.receive_while([&](Bytes message) { return meter.take(message); });
    meter.report(samples);
}

template <Client C>
void measure_send(const Job& job, Samples& samples)
{
    C client{job};
    auto payload = payload_of(job);
    const auto message = bytes_of(payload);
    const auto usage = Usage::now();
    const auto began = Clock::now();
    for (std::uint64_t i = 0; i < job.count; ++i) {
        client.send(message);
        if (job.is_compressed)
            vary(payload);
    }
    client.receive_while([](Bytes) { return false; }); // the sink has counted all messages
    const auto count = static_cast<double>(job.count);
    samples.add("per_second", count / std::chrono::duration<double>(Clock::now() - began).count());
    samples.add("cpu_ns", 1e9 * (Usage::now().cpu_seconds - usage.cpu_seconds) / count);
}

template <Client C>
void measure_round_trip(const Job& job, Samples& samples)
{
    C client{job};
    const auto payload = payload_of(job);
    Histogram histogram;
    const auto warm_up = job.exactly != 0 ? 0 : job.count / 10;
    for (std::uint64_t i = 0; i < job.count + warm_up; ++i) {
        const auto began = Clock::now();
        client.send(bytes_of(payload));
        client.receive_while([](Bytes) { return false; });
        if (i >= warm_up)
            histogram.add(Clock::now() - began);
    }
    histogram.report(samples);
}

/// Measures the round trip of a message so large that its memory matters too.
template <Client C>
void measure_echo(const Job& job, Samples& samples)
{
    const auto payload = payload_of(job);
    const PeakMemory memory;
    C client{job};
    Histogram histogram;
    for (std::uint64_t i = 0; i < job.count; ++i) {
        const auto began = Clock::now();
        client.send(bytes_of(payload));
        client.receive_while([&](Bytes message) {
            if (message.size() != payload.size())
                throw std::runtime_error{"wrong size"};
            return false;
        });
        histogram.add(Clock::now() - began);
    }
    samples.add("p50_us", histogram.microseconds(0.5));
    samples.add("peak_bytes", static_cast<double>(memory.bytes()));
}

/// Measures from the generator's write to the application's handler.
template <Client C>
void measure_latency(const Job& job, Samples& samples)
{
    C client{job};
    Histogram histogram;
    std::uint64_t count = 0;
    const auto warm_up = job.count / 10;
    Usage usage;
    client.receive_while([&](Bytes message) {
        Clock::rep sent = 0;
        std::memcpy(&sent, message.data(), sizeof sent);
        const auto late = Clock::now().time_since_epoch() - Clock::duration{sent};
        if (++count == warm_up)
            usage = Usage::now();
        if (count > warm_up)
            histogram.add(late);
        return count != job.count;
    });
    histogram.report(samples);
    samples.add("cpu_ns", 1e9 * (Usage::now().cpu_seconds - usage.cpu_seconds)
                              / static_cast<double>(job.count - warm_up));
}

/// Measures many links of one client on one thread: the memory of a link without a message yet,
/// then the rate over all.
template <class C>
    requires requires(C client, const Job& job) { client.open(job); }
void measure_links(const Job& job, Samples& samples)
{
    if (raise_descriptor_limit() < job.links + 64)
        throw std::runtime_error{"the system allows too few descriptors"};
    C client{job};
    const auto resident = resident_bytes();
    const auto began = Clock::now();
    for (std::uint64_t i = 1; i < job.links; ++i)
        client.open(job);
    if (job.links > 1) {
        const auto count = static_cast<double>(job.links - 1);
        samples.add("open_us",
                    1e6 * std::chrono::duration<double>(Clock::now() - began).count() / count);
        samples.add("bytes_per_link",
                    (static_cast<double>(resident_bytes()) - static_cast<double>(resident))
                        / count);
    }
    Meter meter{job};
    client.send(bytes_of("go"));
    client.receive_while([&](Bytes message) { return meter.take(message); });
    meter.report(samples);
}

/// Measures the cost of a connection without traffic.
template <Client C>
void measure_idle(const Job& job, Samples& samples)
{
    C client{job};
    client.receive_while([](Bytes) { return false; });
    const auto before = Usage::now();
    client.receive_while([](Bytes) { return false; });
    const auto after = Usage::now();
    samples.add("cpu_us_per_second", 1e6 * (after.cpu_seconds - before.cpu_seconds) / job.seconds);
    samples.add("switches_per_second",
                static_cast<double>(after.voluntary_switches - before.voluntary_switches)
                    / job.seconds);
}

/// Measures connecting and a polite close, with starting and joining threads if the competitor has
/// any.
template <Client C>
void measure_cycle(const Job& job, Samples& samples)
{
    Histogram histogram;
    for (std::uint64_t i = 0; i < job.count; ++i) {
        const auto began = Clock::now();
        C client{job};
        client.stop();
        histogram.add(Clock::now() - began);
    }
    samples.add("p50_us", histogram.microseconds(0.5));
    samples.add("p99_us", histogram.microseconds(0.99));
}

enum class Cases {
    all,
    messages, // without connecting and closing: some libraries do these at their own time
    waits     // cases in which the application waits for every message
};

/// A case's name behind its prefix, and what measures it.
using NamedMeasure = std::pair<std::string_view, Measure>;

/// Registers a competitor for cases with one kind of generator.
inline void add_cases(std::string_view prefix, std::string_view competitor, const Serve& generator,
                      std::initializer_list<NamedMeasure> cases)
{
    for (const auto& [name, measure] : cases)
        registry().push_back(
            {std::string{prefix} + std::string{name}, std::string{competitor}, measure, generator});
}

/// Registers a competitor for the cases of a protocol. Define a constant of it in the competitor's
/// file.
template <Client C>
class Registration {
public:
    Registration(Protocol protocol, std::string_view competitor, Cases cases = Cases::all,
                 const Serve& generator = serve)
    {
        const auto* const prefix = protocol == Protocol::websocket ? "websocket_" : "tcp_";
        add_cases(prefix, competitor, generator,
                  {{"round_trip", measure_round_trip<C>}, {"latency", measure_latency<C>}});
        if (cases == Cases::waits)
            return;
        add_cases(
            prefix, competitor, generator,
            {{"ingest", measure_ingest<C>}, {"send", measure_send<C>}, {"idle", measure_idle<C>}});
        if (cases == Cases::all)
            add_cases(prefix, competitor, generator, {{"cycle", measure_cycle<C>}});
    }
};

/// Registers a competitor for cases that TCP does not have, and for messages of mebibytes.
template <Client C>
class WebSocketRegistration {
public:
    explicit WebSocketRegistration(std::string_view competitor)
    {
        add_cases("websocket_", competitor, serve,
                  {{"text", measure_ingest<C>},
                   {"fragments", measure_ingest<C>},
                   {"echo", measure_echo<C>}});
    }
};

/// Registers a competitor for WebSocket over TLS.
template <Client C>
class SecureRegistration {
public:
    explicit SecureRegistration(std::string_view competitor)
    {
        add_cases("wss_", competitor, serve,
                  {{"ingest", measure_ingest<C>},
                   {"send", measure_send<C>},
                   {"round_trip", measure_round_trip<C>}});
    }
};

/// Registers a competitor for compressed messages.
template <Client C>
class DeflateRegistration {
public:
    explicit DeflateRegistration(std::string_view competitor, bool sends = true)
    {
        add_cases("websocket_", competitor, serve, {{"deflate", measure_ingest<C>}});
        if (sends)
            add_cases("websocket_", competitor, serve, {{"deflate_send", measure_send<C>}});
    }
};

} // namespace bench
