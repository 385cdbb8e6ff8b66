// What programs read: JSON, and the one-line and table forms.
#include "support/silent_options.hpp"

#include <sidecar/format.hpp>
#include <sidecar/json.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace json_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// Whether it is one JSON value (RFC 8259) and nothing else.
class Checker {
public:
    explicit Checker(std::string_view text) : rest_{text} {}
    bool is_json() { return value() && rest_.empty(); }

private:
    bool take(char c)
    {
        if (rest_.empty() || rest_[0] != c)
            return false;
        rest_.remove_prefix(1);
        return true;
    }
    bool take(std::string_view word)
    {
        if (!rest_.starts_with(word))
            return false;
        rest_.remove_prefix(word.size());
        return true;
    }
    bool digits()
    {
        const auto n = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
        rest_.remove_prefix(n);
        return n != 0;
    }
    bool number()
    {
        (void)take('-');
        if (!take('0') && !digits())
            return false;
        return !take('.') || digits();
    }
    bool string()
    {
        if (!take('"'))
            return false;
        while (!rest_.empty() && rest_[0] != '"') {
            const auto c = static_cast<unsigned char>(rest_[0]);
            if (c < 0x20)
                return false;
            rest_.remove_prefix(1);
            if (c != '\\')
                continue;
            if (take('u')) {
                if (rest_.size() < 4
                    || rest_.substr(0, 4).find_first_not_of("0123456789abcdefABCDEF") != rest_.npos)
                    return false;
                rest_.remove_prefix(4);
            } else if (rest_.empty()
                       || std::string_view{"\"\\/bfnrt"}.find(rest_[0]) == std::string_view::npos) {
                return false;
            } else {
                rest_.remove_prefix(1);
            }
        }
        return take('"');
    }
    template <class Item>
    bool list(char end, Item item)
    {
        if (take(end))
            return true;
        do {
            if (!item())
                return false;
        } while (take(','));
        return take(end);
    }
    bool value()
    {
        if (take('{'))
            return list('}', [&] { return string() && take(':') && value(); });
        if (take('['))
            return list(']', [&] { return value(); });
        if (rest_.starts_with('"'))
            return string();
        return take("true") || take("false") || take("null") || number();
    }

    std::string_view rest_;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

StopReport some_report()
{
    StopReport report;
    report.quiesce = {Verdict::ok, 0s};
    report.drain = {Verdict::timed_out, 500ms};
    report.close = report.cancel = {Verdict::skipped, 0s};
    report.join = {Verdict::ok, 0s};
    report.total = 1'234'567ns;
    report.joined = true;
    report.unsent_messages = 3;
    report.stuck.push_back({"my \"task\"\n", "a\\b", 1s});
    report.first_error = Failure{Error::closed_by_peer,
                                 {.attempted = "read",
                                  .endpoint = "ws://h/?token=***",
                                  .close_code = 1008,
                                  .close_reason = "no \x01 \xc3\xa4",
                                  .retry_after = 5s}};
    return report;
}

TEST_CASE("to_json: all that is reported is JSON, empty or not")
{
    CHECK(Checker{to_json(Stats{})}.is_json());
    CHECK(Checker{to_json(StopReport{})}.is_json());
    CHECK(Checker{to_json(Failure{})}.is_json());
    CHECK(Checker{to_json(ErrorLog{})}.is_json());
    CHECK(Checker{to_json(some_report())}.is_json());
    CHECK(Checker{to_json(*some_report().first_error)}.is_json());
    ErrorLog log;
    log.entries.push_back({.failure = *some_report().first_error, .count = 2});
    log.entries.push_back({.failure = Error::timed_out, .count = 1});
    CHECK(Checker{to_json(log)}.is_json());
    CHECK_FALSE(to_json(some_report()).find('\n') != std::string::npos); // one line
}

TEST_CASE("to_json: numbers are exact, and what is not there is null")
{
    Stats stats;
    stats.messages_received = UINT64_MAX;
    stats.connect_time = 1'000'000'001ns;
    stats.reading_paused = -1ns;
    const auto text = to_json(stats);
    CHECK(Checker{text}.is_json());
    CHECK(has(text, "\"messages_received\":18446744073709551615,"));
    CHECK(has(text, "\"connect_time_seconds\":1.000000001,"));
    CHECK(has(text, "\"reading_paused_seconds\":-0.000000001,"));
    CHECK(has(text, "\"data_age_seconds\":null,"));
    stats.data_age = 0s;
    stats.last_connect.steps.push_back({Phase::connecting, "to 192.0.2.1:80", 20ms});
    stats.last_connect.attempts.push_back({"192.0.2.1:80", "", 20ms});
    CHECK(has(to_json(stats), "\"data_age_seconds\":0,"));
    CHECK(has(to_json(stats), "{\"phase\":\"connecting\",\"detail\":\"to 192.0.2.1:80\","
                              "\"elapsed_seconds\":0.02}"));
    CHECK(Checker{to_json(stats)}.is_json());
    stats.connect_time = Duration::min();
    stats.reading_paused = Duration::max();
    CHECK(has(to_json(stats), "\"connect_time_seconds\":-9223372036.854775808,"));
    CHECK(has(to_json(stats), "\"reading_paused_seconds\":9223372036.854775807,"));
}

TEST_CASE("to_json: any text is a string, whatever stands in it")
{
    const auto text = to_json(some_report());
    CHECK(has(text, "\"name\":\"my \\\"task\\\"\\u000a\",\"waiting_for\":\"a\\\\b\""));
    CHECK(has(text, "\"close_reason\":\"no \\u0001 \xc3\xa4\""));
    CHECK(has(text, "\"drain\":{\"verdict\":\"timed_out\",\"elapsed_seconds\":0.5}"));
    CHECK(has(text, "\"retry_after_seconds\":5"));
    std::string all;
    for (int c = 0; c < 256; ++c)
        all += static_cast<char>(c);
    const auto strange = to_json(Failure{Error::disconnected, {.explanation = all}});
    CHECK(Checker{strange}.is_json());
    for (const auto c : strange)
        CHECK((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
    const std::string c1 = "\xc2\x9b"
                           "2J\xc2\xa0"; // a terminal obeys the first
    CHECK(has(to_json(Failure{Error::disconnected, {.explanation = c1}}), "\\u009b2J\xc2\xa0"));
}

TEST_CASE("format: stats have a line and a table, a report has a line too")
{
    Stats stats;
    stats.messages_received = 42;
    stats.data_age = 1500ms;
    stats.round_trips = {.count = 1, .last = 2ms, .min = 2ms, .max = 2ms, .p50 = 2ms, .p99 = 2ms};
    const auto line = fmt::format("{}", stats);
    CHECK_FALSE(has(line, "\n"));
    CHECK(has(line, "received 42 messages"));
    CHECK(has(line, "data age 1.50 s"));
    CHECK(has(line, "round trip p50 2.00 ms"));
    const auto table = fmt::format("{:t}", stats);
    CHECK(std::count(table.begin(), table.end(), '\n') > 20);
    CHECK(has(table, "  received              42 (0 bytes) in 0 reads\n"));
    CHECK(has(table, "  age of the data       1.50 s\n"));
    CHECK(table.back() != '\n');

    const auto report = fmt::format("{:l}", some_report());
    CHECK_FALSE(has(report, "\n"));
    CHECK(has(report, "not clean; drain timed out;"));
    CHECK(has(report, "3 unsent"));
    CHECK(has(report, "1 stuck"));
    CHECK(has(fmt::format("{}", some_report()), "\n  drain    timed out"));
    CHECK_THROWS_AS((void)fmt::format(fmt::runtime("{:x}"), stats), fmt::format_error);
    CHECK(fmt::format("{:l}", stats) == line);
    CHECK(fmt::format("{:t}", some_report()) == fmt::format("{}", some_report()));
    CHECK_THROWS_WITH_AS(
        (void)fmt::format(fmt::runtime("{:tt}"), some_report()),
        "of what Sidecar reports there is {}, {:l} (one line), {:t} (a table), and nothing else",
        fmt::format_error);
}

TEST_CASE("format: how a connecting went is one line")
{
    ConnectTrace trace;
    CHECK(to_string(trace).empty());
    trace.steps.push_back({Phase::resolving, "", 1200us});
    trace.steps.push_back({Phase::connecting, "to 192.0.2.2:80", 23ms});
    trace.attempts.push_back({"192.0.2.1:80", "Connection refused", 1ms});
    trace.attempts.push_back({"192.0.2.2:80", "", 22ms});
    CHECK(fmt::format("{}", trace)
          == "resolving the name 1.20 ms, connecting to 192.0.2.2:80 23.00 ms (tried 192.0.2.1:80: "
             "Connection refused after 1.00 ms; 192.0.2.2:80: taken after 22.00 ms)");
    CHECK(trace.time_in(Phase::connecting) == 23ms);
}

TEST_CASE("format: an event is one line with what belongs to its kind, a word is a word")
{
    Event event{.kind = Event::Kind::up, .link = LinkId{2}, .connection = 3};
    event.continuity = Continuity::lost;
    event.protocol = "v2.feed";
    CHECK(fmt::format("{}", event) == "up (link 2, connection 3): continuity lost, v2.feed");
    event.continuity = Continuity::unknown;
    CHECK(fmt::format("{}", event) == "up (link 2, connection 3): continuity unknown, v2.feed");
    CHECK(has(to_json(event), R"("continuity":"unknown")"));
    event = {.kind = Event::Kind::down, .failure = Failure{Error::unresponsive}, .connection = 3};
    event.next_attempt = event.at + 1500ms;
    CHECK(fmt::format("{:l}", event)
          == "down (link 0, connection 3): the peer gave no sign of life in time, the next attempt "
             "comes in 1.50 s");
    event = {.kind = Event::Kind::gap, .missing = 8};
    event.gap_reason = GapReason::dropped_oldest;
    CHECK(fmt::format("{:t}", event)
          == "gap (link 0): 8 messages are missing, the oldest were dropped");
    event = {.kind = Event::Kind::stale, .data_age = 90s};
    CHECK(has(fmt::format("{}", event), "stale (link 0): the data was "));
    CHECK(fmt::format("{}", Event{}) == "stopped");
    CHECK(fmt::format("{} {}", State::connected, Verdict::skipped) == "connected nothing to do");
}

TEST_CASE("to_json, format: what stands in a message is not told, its size is")
{
    MockPeer peer;
    Sidecar<Mock> feed{{.peer = peer}, silent_options()};
    REQUIRE(feed.start(1s));
    peer.deliver("a secret");
    REQUIRE(feed.next_event(1s)->kind == Event::Kind::up);
    const auto event = feed.next_event(1s).value();
    CHECK(fmt::format("{}", event) == "message (link 0, connection 1): 8 bytes of text");
    const auto json = to_json(event);
    CHECK(has(json, R"({"kind":"message","link":0,"connection":1,"at_seconds":0)"));
    CHECK(has(json, R"("message_kind":"text","message_bytes":8,"replaced":0,"failure":null)"));
    CHECK(has(json, R"("gap_reason":"none")"));
    CHECK_FALSE(has(json, "secret"));
}

TEST_CASE("format: an error log has a line for each entry, or one for all")
{
    ErrorLog log;
    log.entries.push_back({.failure = Error::timed_out, .count = 1});
    log.entries.push_back({.failure = Error::gap, .count = 1});
    CHECK(fmt::format("{}", log) == "1x timed out\n1x messages are missing here");
    CHECK(fmt::format("{:l}", log) == "1x timed out; 1x messages are missing here");
}

} // namespace json_test
