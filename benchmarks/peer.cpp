#include "peer.hpp"

#include "frames.hpp"

#include <boost/beast/websocket/detail/hybi13.hpp>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <deque>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace bench {
namespace {

int accept_one(int listener)
{
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0)
        throw std::runtime_error{"accept failed"};
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/// A server's permessage-deflate, with context takeover.
class Deflater {
public:
    Deflater()
    {
        if (::deflateInit2(&z_, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
            throw std::runtime_error{"no deflater"};
    }
    Deflater(const Deflater&) = delete;
    Deflater& operator=(const Deflater&) = delete;
    ~Deflater() { ::deflateEnd(&z_); }
    [[nodiscard]] std::string message(std::string_view payload)
    {
        std::string text(::deflateBound(&z_, payload.size()) + 64, '\0');
        z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(payload.data()));
        z_.avail_in = static_cast<uInt>(payload.size());
        z_.next_out = reinterpret_cast<Bytef*>(text.data());
        z_.avail_out = static_cast<uInt>(text.size());
        ::deflate(&z_, Z_SYNC_FLUSH);
        text.resize(text.size() - z_.avail_out - 4);
        return text;
    }

private:
    z_stream z_{};
};

void shake_hands(Stream& stream, const Job& job)
{
    namespace detail = boost::beast::websocket::detail;
    auto request = stream.read_http_head();
    std::string lower = request;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    constexpr std::string_view field = "sec-websocket-key:";
    const auto begin = request.find_first_not_of(' ', lower.find(field) + field.size());
    detail::sec_ws_accept_type accept;
    detail::make_sec_ws_accept(
        accept, std::string_view{request}.substr(begin, request.find('\r', begin) - begin));
    stream.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                "Upgrade\r\nSec-WebSocket-Accept: "
                + std::string{accept.data(), accept.size()}
                + (job.is_compressed ? "\r\nSec-WebSocket-Extensions: permessage-deflate" : "")
                + "\r\n\r\n");
}

class Connection {
public:
    Connection(int fd, const Job& job) : job_{job}, stream_{fd, job, TlsEnd::Side::server}
    {
        if (job.protocol == Protocol::websocket)
            shake_hands(stream_, job);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { ::close(stream_.fd()); }

    [[nodiscard]] std::string frame(std::string_view payload) const
    {
        const unsigned opcode = job_.content == Content::letters ? 2 : 1;
        if (job_.fragment_bytes == 0)
            return make_head(job_.protocol, payload.size(), opcode).append(payload);
        std::string text;
        for (std::size_t at = 0; at < payload.size(); at += job_.fragment_bytes) {
            const auto fragment = payload.substr(at, job_.fragment_bytes);
            auto head = make_head(job_.protocol, fragment.size(), at == 0 ? opcode : 0);
            if (at + fragment.size() < payload.size())
                head[0] &= 0x7f; // not the last fragment
            text.append(head).append(fragment);
        }
        return text;
    }
    void send(std::string_view bytes) { stream_.send(bytes); }

    /// Waits until the client closes. Answers the close frame.
    void wait_for_end()
    {
        (void)stream_.each(
            [this](const Head& head, std::span<std::byte>) { return !is_goodbye(head); });
    }
    /// Returns, without waiting, whether the client has closed.
    bool has_ended()
    {
        if (!stream_.fill(MSG_DONTWAIT))
            return true;
        const auto head = parse_head(job_.protocol, stream_.unread());
        return head && is_goodbye(*head);
    }

    /// Compressed frames that refer to nothing before them, so they may be repeated.
    [[nodiscard]] std::string compressed_frames(std::size_t min_bytes) const
    {
        std::string frames;
        auto payload = payload_of(job_);
        for (Deflater deflater; frames.size() < min_bytes; vary(payload)) {
            const auto deflated = deflater.message(payload);
            frames += make_head(job_.protocol, deflated.size(), compressed_text).append(deflated);
        }
        return frames;
    }
    void flood()
    {
        constexpr std::size_t min_bytes = 1u << 20;
        std::string many;
        if (job_.is_compressed)
            many = compressed_frames(min_bytes);
        else
            for (const auto one = frame(payload_of(job_)); many.size() < min_bytes;)
                many += one;
        const auto frame_bytes = frame(payload_of(job_)).size();
        while (!has_ended())
            if (job_.has_own_records)
                stream_.send_records(many, frame_bytes);
            else
                send(many);
    }
    void sink()
    {
        std::uint64_t count = 0;
        std::size_t bytes = 0; // Beast cuts messages into fragments
        (void)stream_.each([&](const Head& head, std::span<std::byte> payload) {
            bytes += payload.size();
            if (!head.is_final)
                return true;
            if (std::exchange(bytes, 0) != job_.payload_bytes && !job_.is_compressed)
                throw std::runtime_error{
                    fmt::format("a frame of {} bytes, opcode {}", payload.size(), head.opcode)};
            return ++count != job_.count;
        });
        send(frame(payload_of(job_)));
        wait_for_end();
    }
    void echo()
    {
        std::string whole;
        (void)stream_.each([&](const Head& head, std::span<std::byte> payload) {
            if (is_goodbye(head))
                return false;
            if (head.is_masked)
                apply_mask(payload.data(), payload.size(), payload.data() - 4);
            whole.append(reinterpret_cast<const char*>(payload.data()), payload.size());
            if (head.is_final) {
                send(frame(whole));
                whole.clear();
            }
            return true;
        });
    }
    void paced()
    {
        const auto one = frame(payload_of(job_));
        std::string due;
        pace(job_, [&](std::uint64_t count, Clock::rep stamp) {
            due.clear();
            for (; count != 0; --count) {
                due += one;
                std::memcpy(due.data() + due.size() - job_.payload_bytes, &stamp, sizeof stamp);
            }
            send(due);
        });
        wait_for_end();
    }
    void idle()
    {
        const auto one = frame(payload_of(job_));
        std::this_thread::sleep_for(std::chrono::milliseconds{200});
        send(one);
        std::this_thread::sleep_for(std::chrono::duration<double>{job_.seconds});
        send(one);
        wait_for_end();
    }
    [[nodiscard]] Stream& stream() noexcept { return stream_; }

private:
    static constexpr unsigned compressed_text = 0x41;

    bool is_goodbye(const Head& head)
    {
        if (head.opcode != 8)
            return false;
        send(make_head(Protocol::websocket, 0, 8));
        return true;
    }

    const Job& job_;
    Stream stream_;
};

/// Sends sixteen messages to a link at a time, one link after the other.
void serve_links(int listener, const Job& job)
{
    std::deque<Connection> connections;
    while (connections.size() < job.links)
        connections.emplace_back(accept_one(listener), job);
    (void)connections.front().stream().each(
        [](const Head&, std::span<std::byte>) { return false; });
    std::string burst;
    for (int i = 0; i < 16; ++i)
        burst += connections.front().frame(payload_of(job));
    for (;;)
        for (auto& connection : connections)
            connection.send(burst);
}

} // namespace

void serve(const Job& job, const std::function<void(std::uint16_t)>& listening)
{
    raise_descriptor_limit();
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0
        || ::listen(listener, 4096) != 0
        || ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        throw std::runtime_error{"no listening socket"};
    listening(ntohs(address.sin_port));

    if (job.role == Role::cycle) {
        for (;;)
            Connection{accept_one(listener), job}.wait_for_end();
    }
    if (job.role == Role::links)
        return serve_links(listener, job);
    Connection connection{accept_one(listener), job};
    switch (job.role) {
    case Role::flood: return connection.flood();
    case Role::sink: return connection.sink();
    case Role::echo: return connection.echo();
    case Role::paced: return connection.paced();
    case Role::idle: return connection.idle();
    case Role::links:
    case Role::cycle: return;
    }
}

} // namespace bench
