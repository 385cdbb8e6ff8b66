// expect: uri
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

int main()
{
    sidecar::WebSocket::Options options{
        .uri = "ws://localhost"}; // in one line the compiler names no field
    sidecar::Sidecar<sidecar::WebSocket> feed{options};
}
