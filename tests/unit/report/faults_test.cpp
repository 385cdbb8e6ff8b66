// The text form of Faults, and the values that it accepts.
#include <sidecar/faults.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE("faults: the text form has the members' names, and gives back what it was made of")
{
    const auto read = [](std::string_view text) { return to_string(parse_faults(text).value()); };
    CHECK(read("") == "seed=0");
    CHECK(read("  ") == "seed=0");
    CHECK_FALSE(parse_faults("seed=7").value().any());
    CHECK(read("reset=0.001,seed=7") == "seed=7,reset=0.001");
    CHECK(parse_faults("seed=7,reset=0.001").value().reset == doctest::Approx(0.001));
    CHECK(read(" stall = 1e-3 , max_pause = 1.5s ") == "seed=0,stall=0.001,max_pause=1500ms");
    CHECK(read("max_pause=200ms,max_latency=7us,max_pong_delay=0ns")
          == "seed=0,max_latency=7us,max_pause=200ms,max_pong_delay=0s");

    const Faults all{.seed = UINT64_MAX,
                     .latency = 0.1,
                     .max_latency = 1us,
                     .short_read = 0.2,
                     .short_write = 0.3,
                     .pause = 1e-7,
                     .max_pause = 1234567ns,
                     .reset = 0.5,
                     .refuse = 0.6,
                     .stall = 0.7,
                     .late_pong = 1,
                     .max_pong_delay = 1h};
    CHECK(to_string(all)
          == "seed=18446744073709551615,latency=0.1,short_read=0.2,short_write=0.3,pause=1e-07,"
             "reset=0.5,refuse=0.6,stall=0.7,late_pong=1,max_latency=1us,max_pause=1234567ns,"
             "max_pong_delay=3600s");
    CHECK(read(to_string(all)) == to_string(all));
}

TEST_CASE("faults: a wrong text is refused by its key, and shows nothing that may be a secret")
{
    struct Row {
        std::string_view text, why;
    };
    for (const auto& [first, second] : {
             // clang 14 captures no structured binding
             Row{"resets=0.1", "the key \"resets\" is unknown; the keys are the members of Faults"},
             Row{"seed=1,Reset=0.1",
                 "the key of entry 2 is unknown; the keys are the members of Faults"},
             Row{"=1", "the key of entry 1 is unknown; the keys are the members of Faults"},
             Row{"reset", "entry 1 is not of the form key=value"},
             Row{"reset=0.1,", "entry 2 is not of the form key=value"},
             Row{"seed=1,,reset=0.1", "entry 2 is not of the form key=value"},
             Row{"reset=0.1,reset=0.2", "the key \"reset\" is there twice"},
             Row{"reset=", "reset must be a number from 0 to 1"},
             Row{"reset=often", "reset must be a number from 0 to 1"},
             Row{"reset=0.1x", "reset must be a number from 0 to 1"},
             Row{"reset=0,1", "entry 2 is not of the form key=value"},
             Row{"reset=1.001", "reset must be a number from 0 to 1"},
             Row{"reset=-0.1", "reset must be a number from 0 to 1"},
             Row{"reset=nan", "reset must be a number from 0 to 1"},
             Row{"reset=10%", "reset must be a number from 0 to 1"},
             Row{"seed=-1", "seed must be a whole number below 2^64"},
             Row{"seed=", "seed must be a whole number below 2^64"},
             Row{"seed=18446744073709551616", "seed must be a whole number below 2^64"},
             Row{"seed=7 8", "seed must be a whole number below 2^64"},
             Row{"max_pause=200", "max_pause must be a duration with a unit, such as 200ms"},
             Row{"max_pause=ms", "max_pause must be a duration with a unit, such as 200ms"},
             Row{"max_pause=2 ms", "max_pause must be a duration with a unit, such as 200ms"},
             Row{"max_pause=-2ms", "max_pause must be a duration with a unit, such as 200ms"},
             Row{"max_pause=2min", "max_pause must be a duration with a unit, such as 200ms"},
             Row{"max_pause=1e300s", "max_pause must be a duration with a unit, such as 200ms"},
             Row{"max_pause=9000000000s", "max_pause must be from zero to a year"},
             Row{"https://me:s3cret@host/?t=s3cret",
                 "the key of entry 1 is unknown; the keys are the members of Faults"},
             Row{"s3cret", "entry 1 is not of the form key=value"},
         }) {
        const std::string_view text = first, why = second;
        CAPTURE(text);
        const auto faults = parse_faults(text);
        REQUIRE_FALSE(faults);
        CHECK(faults == Error::bad_options);
        CHECK(faults.error().explanation() == why);
        CHECK(faults.error().message().find("s3cret") == std::string::npos);
    }
}

TEST_CASE("faults: rates are from 0 to 1, and durations from zero to a year")
{
    CHECK(check_faults({}));
    CHECK(check_faults({.latency = 1, .max_latency = 0ns, .max_pong_delay = 8760h}));
    for (const double rate : {-0.1, 1.1, std::nan(""), std::numeric_limits<double>::infinity()})
        CHECK(check_faults({.short_write = rate}).error().explanation()
              == "short_write must be a number from 0 to 1");
    for (const Duration duration : {Duration{-1ns}, Duration::max()})
        CHECK(check_faults({.max_pause = duration}).error().explanation()
              == "max_pause must be from zero to a year");
}
