// nng: its own protocol over TCP, its own threads.
#include "../cases.hpp"

#include <fmt/format.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

namespace bench {
namespace {

void check(int error)
{
    if (error != 0)
        throw std::runtime_error{nng_strerror(error)};
}

class Nng {
public:
    Nng() { check(nng_pair0_open(&socket_)); }
    explicit Nng(const Job& job) : Nng{}
    {
        check(nng_dial(socket_, fmt::format("tcp://127.0.0.1:{}", job.port).c_str(), nullptr, 0));
    }
    explicit Nng(const std::function<void(std::uint16_t)>& listening) : Nng{}
    {
        nng_listener listener;
        check(nng_listen(socket_, "tcp://127.0.0.1:0", &listener, 0));
        int port = 0;
        check(nng_listener_get_int(listener, NNG_OPT_TCP_BOUND_PORT, &port));
        listening(static_cast<std::uint16_t>(port));
    }
    Nng(const Nng&) = delete;
    Nng& operator=(const Nng&) = delete;
    ~Nng() = default; // nng's close may never end while a peer floods; the process ends anyway

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        for (bool go_on = true; go_on;) {
            nng_msg* message = nullptr;
            check(nng_recvmsg(socket_, &message, 0));
            go_on = handler(
                Bytes{static_cast<const std::byte*>(nng_msg_body(message)), nng_msg_len(message)});
            nng_msg_free(message);
        }
    }
    void send(Bytes message)
    {
        check(nng_send(socket_, const_cast<std::byte*>(message.data()), message.size(), 0));
    }
    void stop() {}

private:
    nng_socket socket_{};
};

void serve_nng(const Job& job, const std::function<void(std::uint16_t)>& listening)
{
    Nng channel{listening};
    serve_messages(job, channel);
}

const Registration<Nng> tcp{Protocol::tcp, "nng", Cases::messages, serve_nng};

} // namespace
} // namespace bench
