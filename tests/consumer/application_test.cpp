#include "application.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

using namespace std::chrono_literals;

int main()
{
    sidecar::MockPeer peer;
    sidecar::Sidecar<sidecar::Mock> feed{{.peer = peer}};
    feed.start(1s).value();
    peer.deliver("a");
    peer.deliver_after(4s, "b");
    const bool is_collected = collect(feed, 2) == std::vector<std::string>{"a", "b"};
    const bool is_subscribed = peer.sent().size() == 1;
    return is_collected && is_subscribed && feed.stop().clean() ? 0 : 1;
}
