// Server<WebSocket>, as its documentation uses it.
#include "../harness.hpp"
#include "subjects.hpp"

#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket_server.hpp>

namespace bench {
namespace {

using namespace std::chrono_literals;

class SidecarServer final : public Subject {
public:
    SidecarServer()
    {
        raise_descriptor_limit();
        server_.start(5s).value();
    }
    std::uint16_t port() override { return server_.port(); }
    std::size_t count() override { return server_.client_count(); }
    void broadcast(std::string_view payload) override
    {
        (void)server_.broadcast(bytes_of(payload)).value();
    }
    void turn() override
    {
        (void)server_.poll([](const sidecar::MessageView&) {});
        while (server_.next_event(0s)) {
        }
    }
    void echo() override
    {
        while (const auto message = server_.receive(1h))
            if (auto link = server_.link(message->link()))
                (void)link->send(message->bytes());
    }

private:
    sidecar::Server<sidecar::WebSocket> server_{{.max_clients = 0,
                                                 .max_clients_per_address = 0,
                                                 .max_connections_per_second = 0,
                                                 .outbox = {.bytes = 256u << 10}}};
};

const bool is_added = add_subject<SidecarServer>("sidecar");

} // namespace
} // namespace bench
