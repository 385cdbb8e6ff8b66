// How long an answer may be, and how much time it may cost.
#include "handshake_trial.hpp"
#include "support/sanitized.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <time.h>

namespace handshake_bounds_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace handshake_trial;

TEST_CASE("handshake: a head may be as long as the option says, and not a byte longer")
{
    const std::string begin = "HTTP/1.1 403 F\r\nX: ";
    const auto of_size = [&](std::size_t bytes) {
        return begin + std::string(bytes - begin.size() - 4, 'x') + "\r\n\r\n";
    };
    const Trial by_default;
    CHECK(contains(by_default.whole(of_size(65536)).failure.message(), "403 F"));
    const auto longer = by_default.whole(of_size(65537)).failure;
    CHECK(longer == Error::handshake_refused);
    CHECK(longer.http_status() == 403);
    CHECK(contains(longer.message(), "max_head_bytes (65536)"));

    const Trial small{.options = {.url = "ws://h/", .max_head_bytes = 100}};
    CHECK(contains(small(of_size(100)).failure.message(), "403 F"));
    CHECK(contains(small(of_size(101)).failure.message(), "max_head_bytes"));
    CHECK(contains(small(std::string(99, 'H')).failure.message(), "not HTTP"));
    const Trial large{.options = {.url = "ws://h/", .max_head_bytes = 1u << 20}};
    CHECK(large.whole(status_101 + fields + "X: " + std::string(500'000, 'x') + "\r\n\r\n")
              .is_accepted);
}

TEST_CASE("handshake: interim answers without end are ended")
{
    const Trial small{.options = {.url = "ws://h/", .max_head_bytes = 200}};
    std::string endless;
    for (int i = 0; i < 100; ++i)
        endless += "HTTP/1.1 100 Continue\r\n\r\n";
    CHECK(contains(small(endless.substr(0, 20 * 25)).failure.message(), "interim"));
    CHECK(small(endless.substr(0, 8 * 25)).is_undecided);
    CHECK(small.whole(endless.substr(0, 8 * 25) + "HTTP/1.1 403 F\r\n\r\n").failure.http_status()
          == 403);
}

/// Of this thread: another program that wants the core takes none of it.
std::chrono::nanoseconds processor_time()
{
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

TEST_CASE("handshake: the time is linear, whatever comes")
{
    const Trial trial{.options = {.url = "ws://h/", .max_head_bytes = 4u << 20}};
    const auto byte_by_byte = [](std::size_t at) { return at + 1; };
    const auto took = [&](const std::string& answer) {
        const auto began = processor_time();
        (void)trial.whole(answer);
        (void)trial.run(answer, byte_by_byte);
        return processor_time() - began;
    };
    constexpr std::size_t bytes = is_sanitized ? 200'000 : 1'000'000;
    const auto repeated = [](std::string_view part) {
        std::string text;
        while (text.size() < bytes)
            text += part;
        return text;
    };
    // Quadratic time would be hours, under a sanitizer too
    for (const auto* name :
         {"X", "Connection", "Upgrade", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"}) {
        CHECK(took(status_101 + fields + name + ": " + repeated(",") + "\r\n\r\n") < 5s);
        CHECK(took(status_101 + fields + name + ": " + repeated(", ;a,") + "\r\n\r\n") < 5s);
    }
    CHECK(took(status_101 + repeated("x")) < 5s);
    CHECK(took(status_101 + repeated("\r")) < 5s);
    CHECK(took(status_101 + fields + repeated("X:\r\n") + "\r\n") < 5s);
    CHECK(took(status_101 + fields + repeated("Connection: a\r\n") + "\r\n") < 5s);
    CHECK(took(status_101 + fields + "X: y\r\n" + repeated(" \r\n") + "\r\n") < 5s);
    CHECK(took(repeated("HTTP/1.1 100\n\n")) < 5s);
    CHECK(
        trial.whole(status_101 + fields + "Connection: " + repeated(",") + "\r\n\r\n").is_accepted);
}

} // namespace handshake_bounds_test
