// Testing an application on the mock: a minute of silence takes no time, and every run is the same.
//   09_testing
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <string>

using namespace std::chrono_literals;

namespace {

/// The application: adds up numbers until the feed ends or is silent for a minute. It goes on after
/// an outage. The same function works on a WebSocket.
int add_up(sidecar::Feed& feed, std::string& why_it_ended)
{
    int sum = 0;
    for (;;) {
        const auto message = feed.receive(60s);
        if (!message) {
            const auto& why = message.error();
            if (why.will_retry() && why != sidecar::Error::timed_out)
                continue;
            why_it_ended = why.message();
            return sum;
        }
        int number = 0;
        std::from_chars(message->text().data(), message->text().data() + message->size(), number);
        sum += number;
    }
}

void expect(bool condition, const char* what)
{
    fmt::print("{}: {}\n", condition ? "ok" : "FAILED", what);
    if (!condition)
        std::exit(1);
}

} // namespace

int main()
{
    sidecar::MockPeer peer;
    sidecar::Sidecar<sidecar::Mock> feed{{.peer = peer}};
    feed.start(1s).value();

    std::string why;
    peer.deliver("1");
    peer.deliver_after(50s, "2"); // of virtual time
    expect(add_up(feed, why) == 3, "adds up the numbers");
    expect(why.find("timed out") != why.npos, "ends after a minute of silence");

    peer.deliver("4");
    peer.close(1008, "too many subscriptions");
    expect(add_up(feed, why) == 4, "takes the messages from before the close");
    expect(why.find("too many subscriptions") != why.npos, "reports the peer's reason");
}
