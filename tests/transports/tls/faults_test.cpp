// Faults below TLS: they divide records and break handshakes.
#include "trial.hpp"

#include <sidecar/faults.hpp>

#include <doctest/doctest.h>

#include <string>

namespace faults_test {

using namespace sidecar;
using namespace std::chrono_literals;

bool has(const Failure& failure, std::string_view part)
{
    return failure.message().find(part) != std::string::npos;
}

TEST_CASE("tls faults: a stream in pieces, late and paused carries every line, both ways")
{
    const std::string large(50'000, 'x'); // several records
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        std::string got;
        TlsPeer peer{{.version = version}, [&](TlsConnection& c) {
                         std::string bytes; // sent at once: its delays are not the point
                         for (int i = 0; i < 20; ++i)
                             bytes += c.end.seal(std::to_string(i) + "\n" + large + "\n");
                         c.raw.send(bytes);
                         for (int i = 0; i < 20; ++i)
                             got += c.read_until("\n");
                         c.send("got it\n");
                         c.wait_for_goodbye();
                         c.say_goodbye();
                     }};
        auto options = lines_to(peer.port());
        options.faults = Faults{.seed = 1,
                                .latency = 0.1,
                                .max_latency = 1ms,
                                .short_read = 0.8,
                                .short_write = 0.8,
                                .pause = 0.02,
                                .max_pause = 2ms};
        LinesFeed feed{options, at_home()};
        REQUIRE(feed.start(20s));
        std::string expected;
        for (int i = 0; i < 20; ++i) {
            REQUIRE(feed.send("line " + std::to_string(i)));
            expected += "line " + std::to_string(i) + "\n";
        }
        for (int i = 0; i < 20; ++i) {
            REQUIRE(feed.receive(20s).value().text() == std::to_string(i));
            REQUIRE(feed.receive(20s).value().text() == large);
        }
        CHECK(feed.receive(20s).value().text() == "got it");
        CHECK(feed.stop().clean());
        CHECK(peer.wait_for_ended(1));
        CHECK(got == expected);
    }
}

TEST_CASE("tls faults: a reset breaks the handshake or the stream, and the failure names it")
{
    TlsPeer peer{{}, [&](TlsConnection& c) {
                     for (int i = 0; i < 100; ++i) {
                         c.send(std::to_string(i) + "\n");
                         (void)c.read_until("\n");
                     }
                 }};
    auto options = lines_to(peer.port());
    int in_handshake = 0, later = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CAPTURE(seed);
        options.faults = Faults{.seed = seed, .short_read = 0.3, .short_write = 0.3, .reset = 0.1};
        LinesFeed feed{options, at_home()};
        const auto started = feed.start(20s);
        auto failure = started ? Failure{} : started.error();
        for (int i = 0; started && i < 100; ++i) {
            const auto line = feed.receive(20s);
            if (!line) {
                failure = line.error();
                break;
            }
            CHECK(line->text() == std::to_string(i));
            (void)feed.send("next"); // may be the one that breaks
        }
        CAPTURE(failure.message());
        CHECK(has(failure, "injected by Faults: a reset at"));
        CHECK(failure == (started ? Error::disconnected : Error::tls_failed));
        ++(started ? later : in_handshake);
    }
    CHECK(in_handshake >= 3);
    CHECK(later >= 3);
}

TEST_CASE(
    "tls faults: a handshake that stalls ends with the start's time, and the stop with its own")
{
    TlsPeer peer{{}, [](TlsConnection&) {}};
    auto options = lines_to(peer.port());
    options.faults = Faults{.stall = 1};
    LinesFeed feed{options, at_home()};
    Failure failure;
    for (Duration timeout = 50ms; timeout < 5s; timeout *= 4) { // a busy machine is slow
        failure = feed.start(timeout).error();
        CHECK(failure == Error::timed_out);
        if (has(failure, "injected by Faults: a stall after write 1"))
            break;
    }
    CHECK(has(failure, "injected by Faults: a stall after write 1"));
    const auto report = feed.stop();
    CHECK(report.joined);
    CHECK(report.total < 2s);
}

} // namespace faults_test
