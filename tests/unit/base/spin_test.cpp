// When a thread spins before it sleeps; with the times as the tests give them.
#include "base/spin.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>

namespace spin_test {

using namespace sidecar;
using detail::Spin;
using namespace std::chrono_literals;

/// Each read of the clock takes a microsecond.
struct Wait {
    /// Waits for something that comes at `arrival`, for at most ten microseconds.
    bool spin(Duration arrival, const Spin::Manner& manner = Spin::brief)
    {
        looks = 0;
        return spins.until(
            [&] {
                ++looks;
                return time >= TimePoint{arrival};
            },
            10us, manner,
            [&] { return time += looks == preempted_after ? preempted_for : Duration{1us}; });
    }

    Spin spins;
    TimePoint time{1s};
    int looks = 0;
    int preempted_after = -1; // so many looks; then another thread has the core
    Duration preempted_for = 4ms;
};

constexpr auto never = Duration::max();

TEST_CASE("Spin: ends when something arrives")
{
    Wait wait;
    CHECK(wait.spin(1s + 5us));
    CHECK(wait.time == TimePoint{1s + 5us});
    CHECK(wait.spin(1s + 9us)); // no rest after it
}

TEST_CASE("Spin: in vain it ends after its time, and rests for 256 times as long")
{
    Wait wait;
    CHECK(!wait.spin(never));
    CHECK(wait.looks == 10);
    wait.time += 256 * 10us - 2us;
    CHECK(!wait.spin(Duration{})); // rests, though it has arrived
    CHECK(wait.looks == 0);
    CHECK(wait.spin(Duration{}));
}

TEST_CASE("Spin: each spin in vain doubles the rest, up to two seconds")
{
    Wait wait;
    for (Duration rest = 256 * 10us; rest < 4s; rest *= 2) {
        REQUIRE(!wait.spin(never));
        REQUIRE(wait.looks == 10);
        wait.time += std::min<Duration>(rest, 2s) - 2us;
        CHECK(!wait.spin(never));
        CHECK(wait.looks == 0);
    }
}

TEST_CASE("Spin: each success shortens the next rest by an eighth")
{
    Wait wait;
    CHECK(!wait.spin(never)); // the next rest would be twice 2560 us
    wait.time += 1s;
    CHECK(wait.spin(Duration{}));
    CHECK(wait.spin(Duration{}));
    CHECK(!wait.spin(never));
    wait.time += 2 * 2560us * 7 / 8 * 7 / 8 - 2us;
    CHECK(!wait.spin(Duration{}));
    CHECK(wait.looks == 0);
    CHECK(wait.spin(Duration{}));
}

TEST_CASE("Spin: a thread that lost its core sleeps at once, though something arrived, and rests")
{
    for (const auto& manner : {Spin::brief, Spin::wanted, Spin::considerate}) {
        Wait wait;
        wait.preempted_after = 3;
        CHECK(!wait.spin(1s + 100us, manner));
        CHECK(wait.looks == 3);
        wait.time += manner.rest_factor * 4ms;
        CHECK(!wait.spin(Duration{}, manner)); // it lost the looks before, too
        CHECK(wait.looks == 0);
        wait.time += 1ms;
        wait.preempted_after = -1;
        CHECK(wait.spin(Duration{}, manner));
    }
}

TEST_CASE("Spin: a spin that the application asked for does not rest when nothing comes")
{
    Wait wait;
    for (int i = 0; i < 5; ++i) {
        CHECK(!wait.spin(never, Spin::wanted));
        CHECK(wait.looks == 10);
    }
}

TEST_CASE("Spin: a manner says from when on a look shows that the core is shared")
{
    struct Row {
        Spin::Manner manner;
        Duration longest;
    };
    for (const auto& row :
         {Row{Spin::brief, 50us}, Row{Spin::wanted, 200us}, Row{Spin::considerate, 1ms}})
        for (const bool is_longer : {false, true}) {
            Wait wait;
            wait.preempted_after = 3;
            wait.preempted_for = row.longest + (is_longer ? 1us : 0us);
            CHECK(wait.spin(1s + 6us, row.manner) != is_longer);
        }
}

TEST_CASE("Spin: a considerate one rests for 64 times as long as the loss")
{
    Wait wait;
    CHECK(!wait.spin(never, Spin::considerate));
    wait.time += 64 * 10us - 2us;
    CHECK(!wait.spin(Duration{}, Spin::considerate));
    CHECK(wait.spin(Duration{}, Spin::considerate));
}

} // namespace spin_test
