// ZeroMQ: its protocol over TCP with its I/O thread; and its in-process queue.
#include "../cases.hpp"
#include "../handoff.hpp"

#include <fmt/format.h>
#include <zmq.hpp>

namespace bench {
namespace {

class Zmq {
public:
    explicit Zmq(const Job& job) { socket_.connect(fmt::format("tcp://127.0.0.1:{}", job.port)); }
    explicit Zmq(const std::function<void(std::uint16_t)>& listening)
    {
        socket_.bind("tcp://127.0.0.1:*");
        const auto endpoint = socket_.get(zmq::sockopt::last_endpoint);
        listening(static_cast<std::uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        zmq::message_t message;
        do
            (void)socket_.recv(message);
        while (handler(Bytes{message.data<std::byte>(), message.size()}));
    }
    void send(Bytes message) { socket_.send(zmq::buffer(message.data(), message.size())); }
    void stop() {}

private:
    zmq::context_t context_;
    zmq::socket_t socket_{context_, zmq::socket_type::dealer};
};

void serve_zmq(const Job& job, const std::function<void(std::uint16_t)>& listening)
{
    Zmq channel{listening};
    serve_messages(job, channel);
}

class Inproc {
public:
    Inproc()
    {
        in_.bind("inproc://handoff");
        out_.connect("inproc://handoff");
    }
    void push(Bytes message) { out_.send(zmq::buffer(message.data(), message.size())); }
    void publish() {}
    template <class Handler>
    void pop_while(Handler&& handler)
    {
        zmq::message_t message;
        do
            (void)in_.recv(message);
        while (handler(Bytes{message.data<std::byte>(), message.size()}));
    }

private:
    zmq::context_t context_;
    zmq::socket_t in_{context_, zmq::socket_type::pair}, out_{context_, zmq::socket_type::pair};
};

const Registration<Zmq> tcp{Protocol::tcp, "zeromq", Cases::messages, serve_zmq};
const bool handoff_registered = [] {
    registry().push_back({"handoff", "zeromq in-process", measure_handoff<Inproc>, {}});
    return true;
}();

} // namespace
} // namespace bench
