// The floor: blocking recv and send (SSL_read and SSL_write) on the application's thread, with a
// hand-written frame parser. No handoff, no library.
#include "../cases.hpp"
#include "../frames.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace bench {
namespace {

int connect_to(std::uint16_t port)
{
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        throw std::runtime_error{"connect failed"};
    return fd;
}

class Floor {
public:
    explicit Floor(const Job& job)
        : protocol_{job.protocol}, stream_{connect_to(job.port), job, TlsEnd::Side::client}
    {
        if (protocol_ == Protocol::tcp)
            return;
        stream_.send(fmt::format(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUpgrade: websocket\r\nConnection: "
            "Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            job.port));
        (void)stream_.read_http_head();
    }
    Floor(const Floor&) = delete;
    Floor& operator=(const Floor&) = delete;
    ~Floor() { ::close(stream_.fd()); }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        const auto take = [&](const Head& head, Bytes payload) {
            if (head.is_final && fragments_.empty())
                return handler(payload);
            fragments_.append(reinterpret_cast<const char*>(payload.data()), payload.size());
            if (!head.is_final)
                return true;
            const bool go_on = handler(bytes_of(fragments_));
            fragments_.clear();
            return go_on;
        };
        if (!stream_.each(take))
            throw std::runtime_error{"the peer has gone"};
    }
    void send(Bytes message)
    {
        constexpr std::string_view mask{"\x12\x34\x56\x78", 4};
        out_ = make_head(protocol_, message.size(), 2,
                         protocol_ == Protocol::tcp ? std::string_view{} : mask);
        const auto head = out_.size();
        out_.append(reinterpret_cast<const char*>(message.data()), message.size());
        if (protocol_ == Protocol::websocket)
            apply_mask(reinterpret_cast<std::byte*>(out_.data()) + head, message.size(),
                       bytes_of(mask).data());
        stream_.send(out_);
    }
    void stop()
    {
        if (protocol_ == Protocol::websocket)
            stream_.send(make_head(protocol_, 0, 8, "mask"));
        else
            ::shutdown(stream_.fd(), SHUT_WR);
        while (stream_.fill())
            stream_.consume(stream_.unread().size());
    }

private:
    const Protocol protocol_;
    Stream stream_;
    std::string out_, fragments_;
};

/// The floor for text that is checked: simdjson does it at the speed of memory.
class CheckedFloor : public Floor {
public:
    using Floor::Floor;

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        Floor::receive_while([&](Bytes message) {
            if (!simdjson::validate_utf8(reinterpret_cast<const char*>(message.data()),
                                         message.size()))
                throw std::runtime_error{"not UTF-8"};
            return handler(message);
        });
    }
};

const bool checked_registered = [] {
    registry().push_back(
        {"websocket_text", "floor that checks", measure_ingest<CheckedFloor>, serve});
    return true;
}();
const Registration<Floor> websocket{Protocol::websocket, "floor"};
const WebSocketRegistration<Floor> websocket_only{"floor"};
const SecureRegistration<Floor> secure{"floor"};
const Registration<Floor> tcp{Protocol::tcp, "floor"};

} // namespace
} // namespace bench
