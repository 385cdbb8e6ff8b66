// websocketpp on a separate thread, with a mutex and a condition variable as the handoff, as its
// users do.
#include "../cases.hpp"
#include "handoff_queue.hpp"
#include "websocketpp_link.hpp"

namespace bench {
namespace {

class WebSocketPp {
public:
    explicit WebSocketPp(const Job& job)
        : link_{job.url(), [this](std::string message) { inbox_.push(std::move(message)); }}
    {
    }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        inbox_.pop_while(handler);
    }
    void send(Bytes message) { link_.send(message.data(), message.size()); }
    void stop() { link_.close(); }

private:
    HandoffQueue inbox_;
    WebSocketPpLink link_;
};

const Registration<WebSocketPp> websocket{Protocol::websocket, "websocketpp"};

} // namespace
} // namespace bench
