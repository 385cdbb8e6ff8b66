// What an application does, as short as it goes: it runs, throws, fails, reports and stops.
#include "own_transport.hpp"

#include <sidecar/json.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

void require(bool is_so, const char* what)
{
    if (!is_so) {
        fmt::print(stderr, "not so: {}\n", what);
        std::exit(1);
    }
}

void use_mock()
{
    sidecar::MockPeer peer;
    sidecar::Sidecar<sidecar::Mock> feed{{.peer = peer}};
    require(feed.start(1s).has_value(), "the mock connects");
    peer.deliver_after(1h, "from the mock");
    require(feed.receive(2h).value().text() == "from the mock", "virtual time passes");
    try {
        (void)feed.call("throws", [](sidecar::Context) -> sidecar::Task<int> {
            throw std::domain_error{"thrown on the loop"};
            co_return 0;
        });
        require(false, "call() throws what its coroutine threw");
    } catch (const std::domain_error& e) {
        require(e.what() == std::string{"thrown on the loop"}, "an exception crosses the border");
    }
    const auto report = feed.stop();
    require(report.clean(), "the stop is clean");
    fmt::print("{:l}\n{}\n", report, sidecar::to_json(feed.stats()));
    require(feed.receive(0s).error() == sidecar::Error::stopped, "then it has stopped");
}

void use_sockets()
{
    sidecar::Sidecar<sidecar::WebSocket> web{{.url = "ws://127.0.0.1:1/"}};
    const auto refused = web.start(5s);
    require(refused.error() == sidecar::Error::connect_failed, "nobody listens there");
    fmt::print("{}\n", refused.error());
    sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>> lines{{.host = "127.0.0.1", .port = 1}};
    try {
        lines.start(5s).value();
        require(false, "value() throws");
    } catch (const sidecar::Exception& e) {
        require(e.code() == sidecar::Error::connect_failed, "the exception has the code");
    }
}

#ifndef WITHOUT_OWN_TRANSPORT
void use_own_transport()
{
    std::array<int, 2> ends{};
    require(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0, "there is a socket");
    const auto feed = make_own_feed(ends[0]);
    require(feed->start(1s).has_value(), "the own transport connects");
    std::array<char, 16> heard{};
    require(feed->send("ping").has_value() && ::read(ends[1], heard.data(), heard.size()) == 4
                && ::write(ends[1], "pong", 4) == 4,
            "it writes");
    require(feed->receive(5s).value().text() == "pong", "it reads");
    const auto has_two = [] {
        return std::distance(std::filesystem::directory_iterator{"/proc/self/task"}, {}) == 2;
    };
    for (int i = 0; i < 1000 && !has_two(); ++i) // the system lists an ended one for a moment
        std::this_thread::sleep_for(1ms);
    require(has_two(), "there is one thread beside ours");
    require(feed->stop().clean(), "it stops");
    ::close(ends[1]);
}
#endif

} // namespace

int main()
{
    use_mock();
    use_sockets();
#ifndef WITHOUT_OWN_TRANSPORT
    use_own_transport();
#endif
}
