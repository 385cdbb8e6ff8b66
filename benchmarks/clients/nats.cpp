// NATS: this library and a floor, beside a server of each run. The generator is another client of
// the server, on a plain socket.
#include "nats.hpp"

#include "../../tests/support/nats_server.hpp"
#include "poll_while.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/nats.hpp>

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {
namespace {

using namespace std::chrono_literals;

/// A client of the protocol's two lines that carry a message, with its own large writes.
class Plain {
public:
    Plain(std::uint16_t port, std::string_view publishes, std::string_view subscribes)
        : fd_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)}, publishes_{publishes}
    {
        const int on = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        const auto address = ReservedPort::address(port);
        for (int tries = 0; ::connect(fd_, reinterpret_cast<const sockaddr*>(&address),
                                      sizeof address)
                            != 0;
             ::usleep(10'000)) // the server is about to listen
            if (++tries == 1000)
                throw std::runtime_error{"the NATS server does not listen"};
        say(fmt::format("CONNECT {{\"verbose\":false}}\r\nSUB {} 1\r\nPING\r\n", subscribes));
        while (line() != "PONG")
            ;
    }
    Plain(const Plain&) = delete;
    Plain& operator=(const Plain&) = delete;
    ~Plain() { ::close(fd_); }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        for (;;) {
            const auto head = line();
            if (head == "PING")
                say("PONG\r\n");
            if (!head.starts_with("MSG "))
                continue;
            const auto size = std::strtoul(head.data() + head.rfind(' '), nullptr, 10);
            if (!handler(bytes_of(take(size + 2).substr(0, size))))
                return;
        }
    }
    void send(Bytes message)
    {
        append(message);
        flush();
    }
    /// Goes out with send() or flush(), or when there is much.
    void append(Bytes message)
    {
        out_ += fmt::format("PUB {} {}\r\n", publishes_, message.size());
        out_.append(reinterpret_cast<const char*>(message.data()), message.size()).append("\r\n");
        if (out_.size() >= (256u << 10))
            flush();
    }
    void flush()
    {
        say(out_);
        out_.clear();
    }

private:
    void say(std::string_view text) const
    {
        while (!text.empty()) {
            const auto sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (sent <= 0)
                throw std::runtime_error{"the NATS server closed the connection"};
            text.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    std::string_view line()
    {
        for (auto end = view().find("\r\n");; end = view().find("\r\n")) {
            if (end != std::string_view::npos) {
                const auto text = view().substr(0, end);
                at_ += end + 2;
                return text;
            }
            read();
        }
    }
    std::string_view take(std::size_t size)
    {
        while (view().size() < size)
            read();
        const auto text = view().substr(0, size);
        at_ += size;
        return text;
    }
    void read()
    {
        std::memmove(in_.data(), in_.data() + at_, used_ - at_);
        used_ -= std::exchange(at_, 0);
        const auto got = ::recv(fd_, in_.data() + used_, in_.size() - used_, 0);
        if (got <= 0)
            throw std::runtime_error{"the NATS server closed the connection"};
        used_ += static_cast<std::size_t>(got);
    }
    std::string_view view() const { return {in_.data() + at_, used_ - at_}; }

    int fd_;
    std::string publishes_, out_, in_ = std::string(256u << 10, '\0');
    std::size_t at_ = 0, used_ = 0;
};

/// The part of serve_messages() that floods writes much at once.
struct Generator {
    Plain& plain;
    const bool floods;
    void send(Bytes message) { floods ? plain.append(message) : plain.send(message); }
    template <class Handler>
    void receive_while(Handler&& handler)
    {
        plain.receive_while(handler);
    }
};

/// Starts a server that ends with this process. It cuts no client that reads slowly. Not a
/// NatsServer: this process is killed, and would leave its directory behind.
void start_server(std::uint16_t port)
{
    const auto config = fmt::format("host: 127.0.0.1\nport: {}\nmax_pending: 8GB\n"
                                    "write_deadline: \"60s\"\n",
                                    port);
    const int file = ::memfd_create("nats", 0);
    if (::write(file, config.data(), config.size()) != static_cast<ssize_t>(config.size()))
        throw std::runtime_error{"no configuration for the NATS server"};
    const auto parent = ::getpid();
    if (::fork() == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent)
            ::_exit(1);
        const int nowhere = ::open("/dev/null", O_WRONLY);
        ::dup2(nowhere, 1);
        ::dup2(nowhere, 2);
        const auto path = fmt::format("/proc/self/fd/{}", file);
        for (const char* server : {"nats-server", "/usr/sbin/nats-server"})
            ::execlp(server, "nats-server", "-c", path.c_str(), nullptr);
        ::_exit(127);
    }
}

class Floor {
public:
    explicit Floor(const Job& job) : plain_{job.port, nats_to_generator, nats_from_generator}
    {
        plain_.send(bytes_of(nats_go));
    }
    template <class Handler>
    void receive_while(Handler&& handler)
    {
        plain_.flush();
        plain_.receive_while(handler);
    }
    void send(Bytes message) { plain_.append(message); }
    void stop() {}

private:
    Plain plain_;
};

class Ours {
public:
    explicit Ours(const Job& job)
        : feed_{{.url = fmt::format("nats://127.0.0.1:{}/{}", job.port, nats_to_generator),
                 .subscriptions = {{nats_from_generator}}}}
    {
        feed_.start(5s).value();
        send(bytes_of(nats_go));
    }
    template <class Handler>
    void receive_while(Handler&& handler)
    {
        poll_while(feed_, handler);
    }
    void send(Bytes message) { feed_.send(message, 10s).value(); }
    void stop() { (void)feed_.stop(); }

private:
    sidecar::Sidecar<sidecar::Nats> feed_;
};

const NatsRegistration<Floor> floor_registered{"floor"};
const NatsRegistration<Ours> ours_registered{"sidecar"};

} // namespace

void serve_nats(const Job& job, const std::function<void(std::uint16_t)>& listening)
{
    const ReservedPort port;
    start_server(port.number());
    Plain plain{port.number(), nats_from_generator, nats_to_generator};
    listening(port.number());
    plain.receive_while([](Bytes) { return false; }); // "go": the client has subscribed
    Generator generator{plain, job.role == Role::flood};
    serve_messages(job, generator);
}

} // namespace bench
