// This library: by poll() as in a game loop, by receive(), and by receive() with Options::busy_poll.
#include "../cases.hpp"
#include "../tls.hpp"
#include "poll_while.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <algorithm>
#include <utility>
#include <vector>

namespace bench {
namespace {

using namespace std::chrono_literals;

enum class Way { receive, poll, spin };

template <class T>
typename T::Options options_for(const Job& job)
{
    const auto limit = std::max<std::size_t>(1u << 20, job.payload_bytes);
    if constexpr (requires(typename T::Options options) { options.url; }) {
        typename T::Options options{.url = job.url(), .max_message_bytes = limit};
        if constexpr (requires { options.tls.ca_pem; })
            if (job.is_secure)
                options.tls.ca_pem = certificate().pem;
        if constexpr (requires { options.compression; })
            if (job.is_compressed)
                options.compression.emplace();
        return options;
    } else
        return {.host = "127.0.0.1", .port = job.port, .max_message_bytes = limit};
}

template <class T, Way way>
class Ours {
public:
    explicit Ours(const Job& job)
        : feed_{options_for<T>(job), {.busy_poll = way == Way::spin ? 10ms : 0ms}}
    {
        feed_.start(job.exactly != 0 ? 60s : 5s).value(); // under valgrind it takes its time
    }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        if constexpr (way == Way::poll)
            poll_while(feed_, handler);
        else
            while (handler(feed_.receive(sidecar::Duration::max()).value().bytes()))
                ;
    }
    void send(Bytes message) { feed_.send(message, 10s).value(); }
    void open(const Job& job)
    {
        links_.push_back(feed_.open(options_for<T>(job), 5s).value());
        (void)feed_.poll([](const auto&) {},
                         1); // skips the event `up`, as a waiting receiver does
    }
    void stop() { (void)feed_.stop(); }

private:
    sidecar::Sidecar<T> feed_;
    // The type of an open link, whatever its name: other versions of the library compile this file
    // too
    using Link = std::decay_t<
        decltype(std::declval<sidecar::Sidecar<T>&>().open(options_for<T>(Job{}), 5s).value())>;
    std::vector<Link> links_;
};

#if __has_include(<sidecar/transports/tls_options.hpp>)
const SecureRegistration<Ours<sidecar::WebSocket, Way::poll>> secure_poll{"sidecar"};
const SecureRegistration<Ours<sidecar::WebSocket, Way::receive>> secure_receive{"sidecar receive"};
#endif
using sidecar::LengthPrefix, sidecar::Tcp, sidecar::WebSocket;
const Registration<Ours<WebSocket, Way::poll>> websocket_poll{Protocol::websocket, "sidecar"};
const Registration<Ours<WebSocket, Way::receive>> websocket_receive{Protocol::websocket,
                                                                    "sidecar receive"};
const Registration<Ours<WebSocket, Way::spin>> websocket_spin{Protocol::websocket, "sidecar spin",
                                                              Cases::waits};
const WebSocketRegistration<Ours<WebSocket, Way::poll>> websocket_only_poll{"sidecar"};
const WebSocketRegistration<Ours<WebSocket, Way::receive>> websocket_only_receive{
    "sidecar receive"};
const DeflateRegistration<Ours<WebSocket, Way::poll>> websocket_deflate_poll{"sidecar"};
const DeflateRegistration<Ours<WebSocket, Way::receive>> websocket_deflate_receive{
    "sidecar receive"};
const Registration<Ours<Tcp<LengthPrefix>, Way::poll>> tcp_poll{Protocol::tcp, "sidecar"};
const Registration<Ours<Tcp<LengthPrefix>, Way::receive>> tcp_receive{Protocol::tcp,
                                                                      "sidecar receive"};
const Registration<Ours<Tcp<LengthPrefix>, Way::spin>> tcp_spin{Protocol::tcp, "sidecar spin",
                                                                Cases::waits};
const bool others_registered = [] {
    registry().push_back({"links", "sidecar", measure_links<Ours<WebSocket, Way::poll>>, serve});
    return true;
}();

} // namespace
} // namespace bench
