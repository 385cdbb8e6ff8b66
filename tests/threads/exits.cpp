// exits WAY: ends the process while a sidecar runs, in a way that an application might. Its point
// is that it ends, with nothing for a sanitizer to find.
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <cstdio>
#include <cstdlib>
#include <latch>
#include <optional>
#include <string_view>
#include <thread>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

std::optional<Sidecar<Mock>> at_static_destruction;

Options quick() { return silent_options({.total = 50ms}); }

} // namespace

int main(int argc, char** argv)
{
    const std::string_view way = argc > 1 ? argv[1] : "";
    if (way == "static") {
        // The peer's own state is held by the sidecar, so it outlives this scope.
        at_static_destruction.emplace(Mock::Options{}, quick());
        at_static_destruction->start(1s).value();
        return at_static_destruction->send("x") ? 0 : 1;
    }
    if (way == "stuck") {
        static std::latch never{1};
        std::latch entered{1};
        Sidecar<Mock> feed{{}, quick()};
        feed.start(1s).value();
        feed.spawn("stuck",
                   [&](Context) -> Task<> {
                       entered.count_down();
                       never.wait();
                       co_return;
                   })
            .value();
        entered.wait();
        return feed.stop().joined ? 1 : 0;
    }
    if (way == "on-the-loop") {
        static std::latch spawned{1}; // no call is under way any more when the sidecar goes
        at_static_destruction.emplace(Mock::Options{}, quick());
        at_static_destruction->start(1s).value();
        at_static_destruction
            ->spawn("exit",
                    [](Context) -> Task<> {
                        spawned.wait();
                        std::exit(0);
                        co_return;
                    })
            .value();
        spawned.count_down();
        for (;;)
            std::this_thread::sleep_for(1h); // the other thread ends this
    }
    std::fprintf(stderr, "exits static|stuck|on-the-loop\n");
    return 64;
}
