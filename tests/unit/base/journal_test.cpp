// The journal's log of different failures.
#include "base/journal.hpp"

#include <sidecar/format.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>

namespace journal_test {

using namespace sidecar;
using detail::Journal;
using namespace std::chrono_literals;

Failure broken(std::string endpoint, error_code cause, std::string words)
{
    return {Error::disconnected,
            {.attempted = "read",
             .endpoint = std::move(endpoint),
             .cause = cause,
             .explanation = std::move(words)}};
}

TEST_CASE("journal: each different failure stands once, with its number and its times")
{
    Journal journal{{}};
    Duration now{};
    journal.use_clock([&] { return TimePoint{now}; }, true);
    const auto eof = boost::asio::error::make_error_code(boost::asio::error::eof);
    for (int i = 0; i < 1000; ++i) {
        now = 1s * i;
        journal.record(broken("a", eof, fmt::format("after {} bytes", i)));
    }
    now = 5000s;
    journal.record(broken("b", eof, {}));
    journal.record(broken("a", boost::asio::error::connection_reset, {}));
    journal.record(Failure{Error::closed_by_peer, {.close_code = 1001}});
    journal.record(Failure{Error::closed_by_peer, {.close_code = 1012}});
    journal.record(Failure{Error::closed_by_peer, {.close_code = 1012}});
    const auto log = journal.distinct();
    REQUIRE(log.entries.size() == 5);
    CHECK(log.others == 0);
    const auto& first = log.entries[0];
    CHECK(first.count == 1000);
    CHECK(first.first_at == TimePoint{});
    CHECK(first.last_at == TimePoint{999s});
    CHECK(first.last_time.time_since_epoch() == 999s); // virtual time counts from 1970
    CHECK(first.failure.explanation() == "after 999 bytes");
    CHECK(log.entries[1].count == 1);
    CHECK(log.entries[1].first_at == TimePoint{5000s});
    CHECK(log.entries[4].count == 2);
    CHECK(journal.count() == 1005);
    CHECK(fmt::format("{}", log).starts_with("1000x in 16 min 39 s cannot read (a): "));
}

TEST_CASE("journal: further kinds of failures than it keeps apart are counted together")
{
    Journal journal{{}};
    for (int round = 0; round < 3; ++round)
        for (int i = 0; i < 100; ++i)
            journal.record(broken(fmt::format("host {}", i), {}, {}));
    const auto log = journal.distinct();
    CHECK(log.entries.size() == Journal::max_distinct);
    CHECK(log.entries.back().count == 3);
    CHECK(log.others == 3 * (100 - Journal::max_distinct));
    CHECK(fmt::format("{}", log).ends_with("\n108x others"));
}

TEST_CASE("journal: on real time the calendar's is told")
{
    Journal journal{{}};
    journal.use_clock([] { return TimePoint{1s}; }, false);
    const auto before = std::chrono::system_clock::now();
    journal.record(Error::timed_out);
    const auto log = journal.distinct();
    CHECK(log.entries.at(0).first_time >= before);
    CHECK(log.entries[0].first_time <= std::chrono::system_clock::now());
    CHECK(log.entries[0].first_at == TimePoint{1s});
}

} // namespace journal_test
