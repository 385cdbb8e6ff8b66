// Our server, for clients that others wrote: prints its port, echoes, and obeys a few words; ends
// with its standard input. INTEROP_COMPRESSION, INTEROP_CERTIFICATE and INTEROP_KEY configure it.
#include <sidecar/server.hpp>
#include <sidecar/transports/websocket_server.hpp>

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

std::string setting(const char* name)
{
    const char* const value = std::getenv(name);
    return value ? value : "";
}

void obey(Server<WebSocket>& server, const MessageView& message)
{
    auto link = server.link(message.link());
    if (!link)
        return;
    constexpr std::string_view to_all = "to all: ";
    if (message.text() == "close")
        (void)link->close(10s, {.code = 4001, .reason = "as you wish"});
    else if (message.text() == "info")
        (void)link->send(link->connection_info().path + " " + link->protocol());
    else if (message.text().starts_with(to_all))
        (void)server.broadcast(message.text().substr(to_all.size()));
    else
        (void)link->send(message, 10s);
}

} // namespace

int main()
{
    WebSocket::Acceptor::Options options{
        .path = "/feed",
        .subprotocols = {"v2", "v1"},
        .pages = {{"/", {.bytes = "<!doctype html><title>a page</title>"}}},
        .max_message_bytes = 4u << 20};
    if (!setting("INTEROP_COMPRESSION").empty())
        options.compression = CompressionOptions{};
    if (const auto file = setting("INTEROP_CERTIFICATE"); !file.empty())
        options.tls = TlsServerOptions{
            .certificates = {{.certificate_file = file, .key_file = setting("INTEROP_KEY")}}};
    Server<WebSocket> server{options, {.inbox = {.bytes = 32u << 20}}};
    server.start(10s).value();
    std::printf("%d\n", server.port());
    std::fflush(stdout);
    for (;;) {
        pollfd entries[] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                            {.fd = server.native_handle().value(), .events = POLLIN, .revents = 0}};
        if (::poll(entries, 2, -1) < 0 || entries[0].revents != 0)
            return server.stop().clean() ? 0 : 1;
        while (const auto event = server.next_event(0s))
            if (event->kind == Event::Kind::message)
                obey(server, event->message.view());
    }
}
