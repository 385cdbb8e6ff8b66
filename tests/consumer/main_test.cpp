#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

using namespace std::chrono_literals;

int main()
{
    sidecar::MockPeer peer;
    sidecar::Sidecar<sidecar::Mock> feed{{.peer = peer}};
    feed.start(1s).value();
    peer.deliver_after(60s, "a minute later");
    return feed.receive(120s).value().text() == "a minute later" && feed.stop().clean() ? 0 : 1;
}
