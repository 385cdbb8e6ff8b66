// The least that a server can do: one epoll thread for what clients send, and for a broadcast one
// precomputed frame and one send(2) for each client, on the application's thread.
#include "../frames.hpp"
#include "subjects.hpp"

#include <boost/beast/websocket/detail/hybi13.hpp>

#include <array>
#include <mutex>
#include <unordered_map>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

namespace bench {
namespace {

class Floor final : public Subject {
public:
    Floor()
    {
        raise_descriptor_limit();
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener_, any, size) != 0 || ::listen(listener_, 4096) != 0
            || ::getsockname(listener_, any, &size) != 0)
            throw std::runtime_error{"no listener"};
        port_ = ntohs(address.sin_port);
        watch(listener_);
        thread_ = std::thread{[this] { run(); }};
        thread_.detach(); // ends with the process
    }

    std::uint16_t port() override { return port_; }
    std::size_t count() override
    {
        std::lock_guard lock{mutex_};
        return open_.size();
    }
    void broadcast(std::string_view payload) override
    {
        frame_.assign(make_head(Protocol::websocket, payload.size())).append(payload);
        std::lock_guard lock{mutex_};
        for (auto& [fd, rest] : open_) {
            rest.erase(0, rest.empty() ? 0 : send(fd, rest));
            if (!rest.empty())
                continue; // this one is too slow
            const auto sent = send(fd, std::string_view{frame_});
            if (sent != frame_.size())
                rest = frame_.substr(sent);
        }
    }

private:
    static std::size_t send(int fd, std::string_view bytes)
    {
        const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    }
    void watch(int fd)
    {
        epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
        ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }
    void run()
    {
        std::array<epoll_event, 256> events;
        for (;;) {
            const int count = ::epoll_wait(epoll_, events.data(), events.size(), -1);
            for (int i = 0; i < count; ++i)
                serve(events[static_cast<std::size_t>(i)].data.fd);
        }
    }
    void serve(int fd)
    {
        if (fd == listener_) {
            const int client = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            const int on = 1;
            ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            watch(client);
            return;
        }
        std::array<char, 4096> bytes;
        const auto got = ::recv(fd, bytes.data(), bytes.size(), 0);
        if (got <= 0) {
            std::lock_guard lock{mutex_};
            open_.erase(fd);
            ::close(fd);
        } else if (bytes[0] == 'G') {
            shake_hands(fd, {bytes.data(), static_cast<std::size_t>(got)});
        } else {
            answer(fd, {reinterpret_cast<std::byte*>(bytes.data()), static_cast<std::size_t>(got)});
        }
    }
    /// The requests of this load come whole.
    void shake_hands(int fd, std::string_view request)
    {
        namespace detail = boost::beast::websocket::detail;
        constexpr std::string_view field = "Sec-WebSocket-Key: ";
        const auto key = request.substr(request.find(field) + field.size());
        detail::sec_ws_accept_type accept;
        detail::make_sec_ws_accept(accept, key.substr(0, key.find('\r')));
        send_all(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                     "Upgrade\r\nSec-WebSocket-Accept: "
                         + std::string{accept.data(), accept.size()} + "\r\n\r\n");
        std::lock_guard lock{mutex_};
        open_[fd];
    }
    static void answer(int fd, std::span<std::byte> message)
    {
        const auto head = parse_head(Protocol::websocket, message).value();
        const auto payload = message.subspan(head.head_bytes);
        apply_mask(payload.data(), payload.size(), payload.data() - 4);
        send_all(fd, make_head(Protocol::websocket, payload.size())
                         + std::string{reinterpret_cast<char*>(payload.data()), payload.size()});
    }

    int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    int listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    std::uint16_t port_ = 0;
    std::string frame_;
    std::mutex mutex_;
    std::unordered_map<int, std::string> open_; // and what is left of a frame
    std::thread thread_;
};

const bool is_added = add_subject<Floor>("floor");

} // namespace
} // namespace bench
