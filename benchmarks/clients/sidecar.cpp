// This library: by poll() as a game loop has it, by receive(), and by receive() with Options::spin.
#include "../cases.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <vector>

namespace bench {
namespace {

using namespace std::chrono_literals;

enum class Way { receive, poll, spin };

template <class T>
typename T::Options options_for(const Job& job)
{
    if constexpr (requires(typename T::Options options) { options.url; })
        return {.url = job.url()};
    else
        return {.host = "127.0.0.1", .port = job.port};
}

template <class T, Way way>
class Ours {
public:
    explicit Ours(const Job& job)
        : feed_{options_for<T>(job), {.spin = way == Way::spin ? 10ms : 0ms}}
    {
        feed_.start(5s).value();
    }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        bool go_on = true;
        const auto hand_over = [&](const auto& message) {
            if (go_on)
                go_on = handler(message.bytes());
        };
        if constexpr (way != Way::poll) {
            while (go_on)
                hand_over(feed_.receive(sidecar::Duration::max()).value());
        } else {
            while (go_on) {
                const auto count = feed_.poll(hand_over, 4096).value();
                if (count == 0 && go_on)
                    hand_over(feed_.receive(sidecar::Duration::max()).value());
            }
        }
    }
    void send(Bytes message) { feed_.send(message, 10s).value(); }
    void open(const Job& job) { links_.push_back(feed_.open(options_for<T>(job), 5s).value()); }
    void stop() { (void)feed_.stop(); }

private:
    sidecar::Sidecar<T> feed_;
    std::vector<sidecar::Link<T>> links_;
};

using sidecar::LengthPrefix, sidecar::Tcp, sidecar::WebSocket;
const Registration<Ours<WebSocket, Way::poll>> websocket_poll{Protocol::websocket, "sidecar"};
const Registration<Ours<WebSocket, Way::receive>> websocket_receive{Protocol::websocket,
                                                                    "sidecar receive"};
const Registration<Ours<WebSocket, Way::spin>> websocket_spin{Protocol::websocket, "sidecar spin",
                                                              Cases::waits};
const Registration<Ours<Tcp<LengthPrefix>, Way::poll>> tcp_poll{Protocol::tcp, "sidecar"};
const Registration<Ours<Tcp<LengthPrefix>, Way::receive>> tcp_receive{Protocol::tcp,
                                                                      "sidecar receive"};
const Registration<Ours<Tcp<LengthPrefix>, Way::spin>> tcp_spin{Protocol::tcp, "sidecar spin",
                                                                Cases::waits};
const bool links_registered = [] {
    registry().push_back({"links", "sidecar", measure_links<Ours<WebSocket, Way::poll>>, serve});
    return true;
}();

} // namespace
} // namespace bench
