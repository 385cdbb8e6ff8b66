#include "load.hpp"

#include "../frames.hpp"

#include <fmt/format.h>

#include <fstream>
#include <stdexcept>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace bench {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                                     "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr std::string_view accept_key = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
constexpr std::size_t connects_at_once = 64;
constexpr auto patience = 60s;

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error{why}; }

/// Answers and removes a ping at the front; false: there is none that is complete.
bool answer_ping(int fd, std::string_view& bytes)
{
    if (bytes.size() < 2 || bytes[0] != '\x89'
        || bytes.size() < 2 + static_cast<std::size_t>(bytes[1]))
        return false;
    const auto payload = bytes.substr(2, static_cast<std::size_t>(bytes[1]));
    send_all(fd, "\x8a" + std::string(1, static_cast<char>(0x80 | bytes[1])) + std::string(4, '\0')
                     + std::string{payload}); // a mask of zeros
    bytes.remove_prefix(2 + payload.size());
    return true;
}

} // namespace

// --- the server

ServerProcess::ServerProcess(const std::vector<std::string>& command)
{
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0)
        fail("no pipe");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::vector<char*> arguments;
    for (const auto& word : command)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const int error =
        ::posix_spawn(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = out[0];
    if (error != 0)
        fail(fmt::format("{} did not start", command[0]));
    try {
        port_ = static_cast<std::uint16_t>(std::stoi(read_line()));
    } catch (const std::logic_error&) {
        fail("the server has no port");
    }
}

ServerProcess::~ServerProcess()
{
    ::close(to_);
    ::close(from_);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

void ServerProcess::say(std::string_view text) const
{
    if (::write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        fail("the server has ended");
}

std::string ServerProcess::read_line()
{
    for (const auto deadline = Clock::now() + patience;;) {
        if (const auto end = text_.find('\n'); end != text_.npos) {
            auto line = text_.substr(0, end);
            text_.erase(0, end + 1);
            return line;
        }
        pollfd ready{.fd = from_, .events = POLLIN, .revents = 0};
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        char bytes[256];
        if (left <= 0ms || ::poll(&ready, 1, static_cast<int>(left.count())) <= 0)
            fail("the server does not answer");
        const auto got = ::read(from_, bytes, sizeof bytes);
        if (got <= 0)
            fail("the server has ended");
        text_.append(bytes, static_cast<std::size_t>(got));
    }
}

double ServerProcess::cpu_seconds() const
{
    clockid_t clock{};
    timespec time{};
    ::clock_getcpuclockid(pid_, &clock);
    ::clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::size_t ServerProcess::resident_bytes() const
{
    std::size_t total = 0, resident = 0;
    std::ifstream{fmt::format("/proc/{}/statm", pid_)} >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// --- the clients

Load::Load(const ServerProcess& server) : server_{server}, epoll_{::epoll_create1(EPOLL_CLOEXEC)} {}

Load::~Load()
{
    for (const auto& client : clients_)
        ::close(client.fd);
    for (const int fd : deaf_)
        ::close(fd);
    ::close(epoll_);
}

/// Begins to connect the client of this place.
Load::Client& Load::start(std::size_t place)
{
    auto& client = clients_[place];
    client = {.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    const int on = 1;
    ::setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const sockaddr_in address{.sin_family = AF_INET,
                              .sin_port = htons(server_.port()),
                              .sin_addr = {htonl(INADDR_LOOPBACK)},
                              .sin_zero = {}};
    if (::connect(client.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0
        && errno != EINPROGRESS)
        fail(fmt::format("connect: {}", std::strerror(errno)));
    epoll_event event{.events = EPOLLOUT, .data = {.u64 = place}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event);
    return client;
}

bool Load::shake_hands(Client& client)
{
    const auto place = static_cast<std::uint64_t>(&client - clients_.data());
    if (client.rest.empty()) { // connected
        send_all(client.fd, request);
        epoll_event event{.events = EPOLLIN, .data = {.u64 = place}};
        ::epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
        client.rest = " ";
        return false;
    }
    char bytes[4096];
    const auto got = ::recv(client.fd, bytes, sizeof bytes, 0);
    if (got <= 0)
        fail(fmt::format("no handshake: {}", client.rest));
    client.rest.append(bytes, static_cast<std::size_t>(got));
    const auto end = client.rest.find("\r\n\r\n");
    if (end == client.rest.npos)
        return false;
    if (!client.rest.starts_with(" HTTP/1.1 101")
        || client.rest.find(accept_key) == client.rest.npos)
        fail(fmt::format("refused: {}", client.rest));
    client.rest.erase(0, end + 4);
    client.is_open = true;
    return true;
}

void Load::wait(int timeout, const std::function<void(std::size_t)>& handler)
{
    std::array<epoll_event, 256> events;
    const int count = ::epoll_wait(epoll_, events.data(), events.size(), timeout);
    if (count == 0)
        fail("nothing arrives");
    for (int i = 0; i < count; ++i)
        handler(events[static_cast<std::size_t>(i)].data.u64);
}

void Load::connect(std::size_t count)
{
    const auto end = clients_.size() + count;
    std::size_t started = clients_.size(), open = started;
    clients_.resize(end);
    while (open < end) {
        for (; started < end && started < open + connects_at_once; ++started)
            start(started);
        wait(10'000, [&](std::size_t place) { open += shake_hands(clients_[place]) ? 1 : 0; });
    }
}

void Load::connect_deaf()
{
    connect(1);
    const int fd = clients_.back().fd;
    clients_.pop_back();
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
    deaf_.push_back(fd);
}

/// Checks what has arrived, and keeps the rest of a frame.
void Load::take(Client& client, std::string_view bytes)
{
    const auto now = Clock::now().time_since_epoch().count();
    const auto frame_bytes = head_.size() + payload_bytes_;
    const auto frames = [&](std::string_view whole) {
        for (; whole.size() >= frame_bytes && whole[0] != '\x89';
             whole.remove_prefix(frame_bytes)) {
            std::uint64_t head[2];
            std::memcpy(head, whole.data() + head_.size(), sizeof head);
            if (!whole.starts_with(head_) || (client.number != 0 && head[1] != client.number + 1)
                || whole[frame_bytes - 1] != static_cast<char>('a' + (payload_bytes_ - 1) % 26))
                fail(fmt::format("a wrong message: {:02x} {:02x}, number {} after {}",
                                 static_cast<unsigned char>(whole[0]),
                                 static_cast<unsigned char>(whole[1]), head[1], client.number));
            client.number = head[1];
            latencies_.add(std::chrono::nanoseconds{now - static_cast<std::int64_t>(head[0])});
            if (client.received == expected_)
                fail("a message too many");
            ++arrived_[client.received++];
        }
        return whole;
    };
    client.rest.append(bytes);
    auto rest = frames(client.rest);
    while (answer_ping(client.fd, rest))
        rest = frames(rest);
    client.rest = std::string{rest};
}

Clock::time_point Load::receive(std::size_t count, std::size_t payload_bytes)
{
    head_ = make_head(Protocol::websocket, payload_bytes);
    payload_bytes_ = payload_bytes;
    expected_ = count;
    arrived_.assign(count, 0);
    complete_ = 0;
    for (auto& client : clients_)
        client.received = 0;
    static std::array<char, 256 << 10> buffer;
    auto end = Clock::now();
    while (complete_ < count) {
        wait(10'000, [&](std::size_t place) {
            auto& client = clients_[place];
            const auto got = ::recv(client.fd, buffer.data(), buffer.size(), 0);
            if (got <= 0)
                fail("a client was closed");
            take(client, {buffer.data(), static_cast<std::size_t>(got)});
        });
        std::string dots;
        for (; complete_ < count && arrived_[complete_] == clients_.size(); ++complete_)
            dots += '.';
        end = Clock::now();
        if (!dots.empty())
            server_.say(dots);
    }
    return end;
}

Histogram Load::take_latencies() { return std::exchange(latencies_, {}); }

std::size_t Load::connect_for(Clock::duration time, std::size_t at_once)
{
    clients_.resize(at_once);
    for (std::size_t place = 0; place < at_once; ++place)
        start(place);
    std::size_t count = 0;
    for (const auto deadline = Clock::now() + time; Clock::now() < deadline;)
        wait(10'000, [&](std::size_t place) {
            auto& client = clients_[place];
            if (!shake_hands(client))
                return;
            ++count;
            // A reset: no socket of ours waits for its end
            const linger none{.l_onoff = 1, .l_linger = 0};
            ::setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
            ::close(client.fd);
            start(place);
        });
    return count;
}

Histogram Load::round_trips(std::size_t count)
{
    connect(1);
    const int fd = clients_.back().fd;
    ::fcntl(fd, F_SETFL, 0);
    const std::string payload(64, 'x');
    constexpr std::string_view key = "\x11\x22\x33\x44";
    auto question = make_head(Protocol::websocket, payload.size(), 2, key) + payload;
    apply_mask(reinterpret_cast<std::byte*>(question.data() + 6), payload.size(),
               reinterpret_cast<const std::byte*>(key.data()));
    const auto answer = make_head(Protocol::websocket, payload.size()) + payload;
    std::array<char, 512> buffer;
    Histogram histogram;
    for (std::size_t i = 0; i < count; ++i) {
        const auto from = Clock::now();
        send_all(fd, question);
        std::string got;
        while (got.size() < answer.size()) {
            const auto size = ::recv(fd, buffer.data(), buffer.size(), 0);
            if (size <= 0)
                fail("no answer");
            got.append(buffer.data(), static_cast<std::size_t>(size));
            std::string_view rest = got;
            while (answer_ping(fd, rest)) {
            }
            got = std::string{rest};
        }
        if (got != answer)
            fail("a wrong answer");
        histogram.add(Clock::now() - from);
    }
    return histogram;
}

} // namespace bench
