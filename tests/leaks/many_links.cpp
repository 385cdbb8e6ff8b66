// many_links [deaf] COUNT...: one feed holds COUNT links, over TCP on the loopback. Prints what a link holds of memory, and what a
// message costs when each link brings one in turn; then half of them are closed one by one, and the rest by the stop, and it prints
// how long that took. Behind `deaf` the peers answer no goodbye. Fails if a link costs more than `max_link_kib`, if a message is
// lost, if a peer that answers is cut off, or if something stays behind.
#include "support/footprint.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <netinet/in.h>
#include <stdexcept>
#include <string_view>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vector>

using namespace sidecar;
using namespace std::chrono_literals;
using Wire = Tcp<Lines>;

namespace {

constexpr std::size_t max_link_kib = 24;
constexpr std::size_t messages_at_least = 200'000;
// The stages have their usual time, or less; only the whole may take longer, on a machine that is busy.
constexpr StopBudget polite{.total = 30s, .close = 10s},
    deaf{.total = 30s, .close = 50ms, .cancel = 20s};

void require(bool holds, const char* what)
{
    if (!holds)
        throw std::runtime_error{what};
}

/// A process of its own that accepts `count` links. Told so, it sends one line on every link, or
/// answers the goodbye of each.
class Server {
public:
    explicit Server(std::size_t count)
    {
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto* const plain = reinterpret_cast<sockaddr*>(&address);
        socklen_t size = sizeof address;
        require(::bind(listener_, plain, size) == 0 && ::listen(listener_, 4096) == 0
                    && ::getsockname(listener_, plain, &size) == 0 && ::pipe(told_) == 0,
                "no server");
        port_ = ntohs(address.sin_port);
        child_ = ::fork();
        if (child_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(count);
        }
        ::close(listener_);
        ::close(told_[0]);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server()
    {
        ::close(told_[1]);
        ::kill(child_, SIGKILL);
        ::waitpid(child_, nullptr, 0);
    }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    void send_round() const { tell("x"); }
    void answer_goodbyes() const { tell("e"); }

private:
    void tell(const char* what) const
    {
        require(::write(told_[1], what, 1) == 1, "the server has ended");
    }
    [[noreturn]] void serve(std::size_t count) const
    {
        ::close(told_[1]);
        std::vector<int> links;
        while (links.size() < count)
            links.push_back(::accept(listener_, nullptr, nullptr));
        for (char byte = 0; ::read(told_[0], &byte, 1) == 1;)
            for (const int link : links)
                if (byte == 'x') {
                    (void)::send(link, "a line of forty-eight bytes, as a feed has them\n", 48,
                                 MSG_NOSIGNAL);
                } else {
                    char unread = 0;
                    while (::recv(link, &unread, 1, 0) > 0) {
                    }
                    ::close(link);
                }
        ::_exit(0);
    }

    int listener_ = -1, told_[2]{-1, -1};
    std::uint16_t port_ = 0;
    pid_t child_ = -1;
};

double cpu_seconds()
{
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Takes so many messages, whatever link brings them.
void take(Feed& feed, std::size_t count)
{
    for (std::size_t taken = 0; taken < count;) {
        (void)feed.receive(20s).value();
        taken += 1 + feed.poll([](const MessageView&) {}).value();
    }
    require(feed.stats().inbox_messages == 0, "more came than was sent");
}

void run(std::size_t count, bool is_deaf)
{
    const Server server{count};
    const Wire::Options options{.host = "127.0.0.1", .port = server.port()};
    const Options comes_back{.stop = is_deaf ? deaf : polite, .reconnect = Reconnect{}};
    const auto before = Footprint::now();
    Sidecar<Wire> feed{options, silenced(comes_back)};
    feed.start(20s).value();
    const auto began = std::chrono::steady_clock::now();
    std::vector<Link> links;
    while (links.size() + 1 < count)
        links.push_back(feed.open(options, 20s, comes_back.link_options()).value());
    const auto opened = std::chrono::steady_clock::now();
    server.send_round();
    take(feed, count);
    const auto with_links = Footprint::now();
    require(with_links.threads <= before.threads + 1, "there is more than one thread");

    const auto rounds = std::max<std::size_t>(messages_at_least / count, 3);
    const auto cpu = cpu_seconds();
    for (std::size_t round = 0; round < rounds; ++round) {
        server.send_round();
        take(feed, count);
    }
    const auto link_kib = static_cast<double>(with_links.resident_kib - before.resident_kib)
                          / static_cast<double>(count);
    fmt::print("{:>6} links: {:.1f} KiB each, {:.0f} us to open one, {:.2f} us of processor time a "
               "message\n",
               count, link_kib,
               std::chrono::duration<double, std::micro>(opened - began).count()
                   / static_cast<double>(count),
               1e6 * (cpu_seconds() - cpu) / static_cast<double>(rounds * count));
    if (!is_sanitized && count >= 1000)
        require(link_kib < max_link_kib, "a link holds too much");
    for (std::size_t i = 0; i < links.size(); i += 2)
        (void)links[i].close(0ms); // whose peer does not answer
    links.clear();
    if (!is_deaf)
        server.answer_goodbyes();
    const auto report = feed.stop();
    require(report.joined, "a stop left something behind");
    require(is_deaf || report.clean(), "a stop cut off a peer that answers");
    fmt::print("{:>6} links: {}\n", count, to_line(report));
}

} // namespace

int main(int argc, char** argv)
{
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    try {
        bool is_deaf = false;
        for (int i = 1; i < argc; ++i) {
            if (std::string_view{argv[i]} == "deaf") {
                is_deaf = true;
                continue;
            }
            const auto count = static_cast<std::size_t>(std::atoi(argv[i]));
            if (files.rlim_cur < count + 100) {
                fmt::print("{} links need more descriptors than there may be\n", count);
                return 77;
            }
            run(count, is_deaf);
        }
        Footprint::now().print("at the end");
    } catch (const std::exception& e) {
        fmt::print("{}\n", e.what());
        return 1;
    }
    return 0;
}
