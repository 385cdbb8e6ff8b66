// A WebSocket server against our own client, and against raw sockets that do what no client would.
#include <sidecar/prometheus.hpp>
#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket_server.hpp>

#include "support/raw_peer.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace websocket_server_test {

using namespace sidecar;
using namespace std::chrono_literals;

using Kind = Event::Kind;
using ServerOptions = WebSocket::Acceptor::Options;
using RequestAnswer = WebSocket::Acceptor::RequestAnswer;
using Request = WebSocket::Acceptor::Request;

constexpr auto patience = 10s;

/// A server that runs; its clients.
class Trial {
public:
    explicit Trial(ServerOptions options = {}, Options settings = {})
        : server{std::move(options), quiet(std::move(settings))}
    {
        server.start(patience).value();
        (void)next(Kind::up); // the listener
    }

    [[nodiscard]] std::string url(std::string_view rest = "/") const
    {
        return fmt::format("ws://127.0.0.1:{}{}", port(), rest);
    }
    [[nodiscard]] std::uint16_t port() const
    {
        return const_cast<Server<WebSocket>&>(server).port();
    }
    /// The next event of this kind; others are passed over.
    Event next(Kind kind)
    {
        for (;;) {
            auto event = server.next_event(patience);
            REQUIRE_MESSAGE(event, event.error().message());
            if (event->kind == kind)
                return *std::move(event);
        }
    }
    /// Waits until the counter has this value.
    void await(std::uint64_t Stats::*counter, std::uint64_t value)
    {
        const auto until = std::chrono::steady_clock::now() + patience;
        while (server.stats().*counter < value && std::chrono::steady_clock::now() < until)
            std::this_thread::sleep_for(1ms);
        CHECK(server.stats().*counter == value);
    }
    static Options quiet(Options settings = {})
    {
        settings.log = [](LogLevel, std::string_view) {};
        return settings;
    }

    Server<WebSocket> server;
};

using Client = Sidecar<WebSocket>;

std::unique_ptr<Client> connect(WebSocket::Options options)
{
    auto client = std::make_unique<Client>(std::move(options), Trial::quiet());
    const auto started = client->start(patience);
    REQUIRE_MESSAGE(started, started.error().message());
    return client;
}

/// A plain socket that is connected to the server.
RawConnection raw(std::uint16_t port)
{
    return RawConnection{[port] {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        const timeval limit{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        return fd;
    }()};
}

std::string handshake(std::string_view more = {}, std::string_view target = "/")
{
    return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n{}\r\n",
                       target, more);
}

/// Reads to the end of the stream; a reset is an end too.
std::string read_all(RawConnection& c)
{
    std::string all;
    try {
        for (;;)
            all += c.read(1);
    } catch (const PeerGone&) {
    }
    return all;
}

/// As a client sends it, with a key of zeros.
std::string masked(unsigned first, std::string_view payload)
{
    std::string bytes{static_cast<char>(first), static_cast<char>(0x80 | payload.size())};
    return bytes.append(4, '\0').append(payload);
}

std::string text_of(std::size_t size)
{
    std::string text;
    for (unsigned i = 0; text.size() < size; ++i)
        text += fmt::format("{{\"symbol\":\"S{}\",\"price\":{}}}", i % 17, i * 7919 % 1000);
    text.resize(size);
    return text;
}

TEST_CASE("websocket server: a client comes up with its facts, and talks both ways")
{
    Trial trial{{.subprotocols = {"v2", "v1"}, .compression = CompressionOptions{}}};
    for (const bool is_compressed : {false, true}) {
        CAPTURE(is_compressed);
        WebSocket::Options options{.url = trial.url("/feed?token=x"),
                                   .headers = {{"X-Name", "me"}},
                                   .subprotocols = {"v1", "v2"}};
        if (is_compressed)
            options.compression = CompressionOptions{};
        auto client = connect(options);
        CHECK(client->link().value().protocol() == "v2");
        const auto up = trial.next(Kind::up);
        REQUIRE(up.client);
        CHECK(up.protocol == "v2");
        CHECK(up.client->path == "/feed");
        CHECK(up.client->query == "token=x");
        CHECK(up.client->header("x-name") == "me");
        CHECK(up.client->peer.starts_with("127.0.0.1:"));
        CHECK(up.client->local == fmt::format("127.0.0.1:{}", trial.port()));
        CHECK_FALSE(up.client->tls);
        auto link = trial.server.link(up.link).value();
        for (const std::size_t size : {0u, 1u, 125u, 126u, 5000u, 65'535u, 65'536u}) {
            const auto text = text_of(size);
            REQUIRE(client->send(text));
            const auto received = trial.server.receive(patience).value();
            CHECK((received.text() == text));
            CHECK(received.kind() == MessageKind::text);
            CHECK(received.link() == up.link);
            REQUIRE(link.send(received));
            CHECK((client->receive(patience).value().text() == text));
        }
        // many at once, in order
        for (int i = 0; i < 1000; ++i)
            REQUIRE(client->send(std::to_string(i), 1s));
        for (int i = 0; i < 1000; ++i)
            CHECK(trial.server.receive(patience).value().text() == std::to_string(i));
        // larger than a fragment, towards the client
        const auto large = text_of(700'000);
        REQUIRE(link.send(std::as_bytes(std::span{large})));
        CHECK((client->receive(patience).value().text() == large));
        CHECK(client->stop().clean());
        const auto down = trial.next(Kind::down);
        CHECK(down.failure == Error::closed_by_peer);
        CHECK(down.failure->close_code() == 1000);
    }
    CHECK(trial.server.stop().clean());
}

TEST_CASE("websocket server: a broadcast reaches each client in its encoding")
{
    Trial trial{{.compression = CompressionOptions{.threshold_bytes = 100}}};
    const auto with = [](CompressionOptions options) { return std::optional{options}; };
    const std::optional<CompressionOptions> kinds[] = {
        std::nullopt,
        with({}),
        with({.server_no_context_takeover = true}),
        with({.server_no_context_takeover = true}),
        with({.server_max_window_bits = 10, .server_no_context_takeover = true}),
    };
    std::vector<std::unique_ptr<Client>> clients;
    for (const auto& kind : kinds) {
        clients.push_back(connect({.url = trial.url(), .compression = kind}));
        (void)trial.next(Kind::up);
    }
    std::vector<std::string> sent;
    std::thread other{[&] { // beside the application's thread
        for (int i = 0; i < 20; ++i)
            (void)trial.server.broadcast(fmt::format("other {}", i));
    }};
    for (const std::size_t size : {0u, 20u, 200u, 20'000u, 40'000u, 200'000u, 400'000u}) {
        sent.push_back(text_of(size));
        CHECK(trial.server.broadcast(sent.back()).value() == clients.size());
        sent.push_back("direct");
        for (auto& link : trial.server.clients())
            REQUIRE(link.send(sent.back()));
    }
    // random bytes get no smaller
    std::string noise;
    for (std::uint32_t i = 0, x = 1; i < 10'000; ++i)
        noise += static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
    CHECK(trial.server.broadcast(std::as_bytes(std::span{noise})).value() == clients.size());
    sent.push_back(noise);
    other.join();
    for (auto& client : clients) {
        std::size_t others = 0;
        for (std::size_t at = 0; at < sent.size() || others < 20;) {
            const auto message = client->receive(patience).value();
            if (message.text().starts_with("other "))
                CHECK(message.text() == fmt::format("other {}", others++));
            else
                CHECK((message.text() == sent.at(at++)));
        }
    }
}

TEST_CASE("websocket server: a stop says goodbye to each client, and a late reader is cut")
{
    Trial trial;
    auto client = connect({.url = trial.url()});
    (void)trial.next(Kind::up);
    auto silent = raw(trial.port());
    silent.send(handshake());
    CHECK(silent.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    (void)trial.next(Kind::up);
    CHECK(trial.server.broadcast("last").value() == 2);
    (void)trial.server.stop({.code = 1001, .reason = "restarting"});
    CHECK(client->receive(patience).value().text() == "last");
    const auto ended = client->receive(patience);
    REQUIRE_FALSE(ended);
    CHECK(ended.error().close_code() == 1001);
    CHECK(ended.error().close_reason() == "restarting");
    CHECK(read_all(silent)
          == frame(0x81, "last") + frame(0x88, "\x03\xe9" + std::string{"restarting"}));
}

TEST_CASE("websocket server: each bad request gets its status, a flood of them harms nobody")
{
    Trial trial{{.path = "/feed", .handshake_timeout = 30s}};
    const std::string host = "Host: localhost\r\n";
    struct Case {
        std::string request;
        const char* status;
    };
    const Case cases[] = {
        {"\x16\x03\x01\x02", "400 Bad Request"},
        {"HELO\r\n", "400 Bad Request"},
        {"GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},
        {"GET /feed HTTP/3.0\r\n" + host + "\r\n", "505 HTTP Version Not Supported"},
        {"POST /feed HTTP/1.1\r\n" + host + "Content-Length: 100000\r\n\r\n"
             + std::string(100'000, 'x'),
         "405 Method Not Allowed"},
        {"GET /feed HTTP/1.1\r\n" + host + "\r\n", "426 Upgrade Required"},
        {handshake("Sec-WebSocket-Version: 8\r\n", "/feed"), "400 Bad Request"},
        {handshake("Origin: http://evil\r\n", "/feed"), "403 Forbidden"},
        {handshake({}, "/other"), "404 Not Found"},
        {handshake("X: " + std::string(20'000, 'x') + "\r\n", "/feed"),
         "431 Request Header Fields Too Large"},
        {"GET /" + std::string(20'000, 'x'), "414 URI Too Long"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.status);
        auto c = raw(trial.port());
        try {
            c.send(one.request);
        } catch (const PeerGone&) { // it need not take all
        }
        const auto answer = read_all(c);
        CHECK(answer.starts_with(fmt::format("HTTP/1.1 {}\r\n", one.status)));
        const auto length_at = answer.find("Content-Length: ");
        REQUIRE(length_at != answer.npos);
        CHECK(answer.size() - answer.find("\r\n\r\n") - 4
              == std::stoul(answer.substr(length_at + 16)));
        CHECK(answer.find("Connection: close") != answer.npos);
    }
    trial.await(&Stats::clients_refused, std::size(cases));
    // who ends or resets the connection, in each phase
    for (const auto* part : {"", "GET", "GET /feed HTTP/1.1\r\nHo"}) {
        raw(trial.port()).send(part);
        auto c = raw(trial.port());
        c.send(part);
        c.reset();
    }
    trial.await(&Stats::clients_refused, std::size(cases) + 6);
    for (const bool resets : {true, false}) {
        auto c = raw(trial.port());
        c.send(handshake({}, "/feed"));
        if (resets)
            c.reset();
        else
            CHECK(c.read_until("\r\n\r\n").starts_with("HTTP/1.1 101"));
    }
    auto client = connect({.url = trial.url("/feed")});
    CHECK(trial.server.stats().clients_accepted >= 2);
    CHECK(trial.server.stop().clean());
}

TEST_CASE("websocket server: a client that reads nothing is cut off a second after it was too slow")
{
    Trial trial{{.outbox = {.bytes = 256u << 10},
                 .overflow = {.policy = OverflowPolicy::fail, .fail_after = 100ms}}};
    auto deaf = raw(trial.port());
    deaf.send(handshake());
    (void)trial.next(Kind::up);
    auto client = connect({.url = trial.url()});
    (void)trial.next(Kind::up);
    std::uint64_t taken = 0, sent = 0;
    const std::string message(64u << 10, 'x');
    while (trial.server.stats().clients_too_slow == 0) {
        sent += trial.server.broadcast(message).value() != 0 ? 1 : 0;
        while (taken < sent) { // so that this client keeps up
            REQUIRE(client->receive(patience));
            ++taken;
        }
    }
    const auto began = std::chrono::steady_clock::now();
    const auto down = trial.next(Kind::down);
    CHECK(down.failure == Error::overflow);
    CHECK(std::chrono::steady_clock::now() - began < patience / 2);
    CHECK(trial.server.client_count() == 1);
    CHECK(trial.server.broadcast("goes on").value() == 1);
    CHECK(client->receive(patience).value().text() == "goes on");
    CHECK(client->stop().clean());
    CHECK(trial.server.stop().joined);
}

TEST_CASE("websocket server: a slow head is cut in time, and holds up nobody")
{
    Trial trial{{.handshake_timeout = 300ms}};
    std::vector<std::unique_ptr<RawConnection>> slow;
    for (int i = 0; i < 20; ++i) {
        slow.push_back(std::make_unique<RawConnection>(::dup(raw(trial.port()).fd())));
        slow.back()->send(i % 2 == 0 ? "" : "GET / HTTP/1.1\r\nHost: h\r\n");
    }
    auto client = connect({.url = trial.url()});
    const auto begin = std::chrono::steady_clock::now();
    for (auto& c : slow)
        CHECK(read_all(*c).empty());
    CHECK(std::chrono::steady_clock::now() - begin < patience);
    trial.await(&Stats::clients_refused, slow.size());
    CHECK(trial.server.client_count() == 1);
}

TEST_CASE("websocket server: above a limit a client gets 503 and when to come again")
{
    struct Case {
        ServerOptions options;
        const char* retry_after;
        const char* why;
    };
    const Case cases[] = {
        {{.max_clients = 1}, "5", "there are too many clients"},
        {{.max_clients_per_address = 1}, "5", "there are too many clients of this address"},
        {{.max_connections_per_second = 0.01}, "1", "too many connections at once"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.why);
        Trial trial{one.options};
        auto client = connect({.url = trial.url()});
        (void)trial.next(Kind::up);
        auto c = raw(trial.port());
        c.send(handshake());
        const auto answer = read_all(c);
        CHECK(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        CHECK(answer.find(fmt::format("Retry-After: {}\r\n", one.retry_after)) != answer.npos);
        CHECK(answer.find(one.why) != answer.npos);
        Client other{{.url = trial.url()}, Trial::quiet()};
        const auto refused = other.start(patience);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().http_status() == 503);
        CHECK(refused.error().retry_after());
        if (one.options.max_connections_per_second < 1)
            continue;
        client->stop(); // makes room
        (void)trial.next(Kind::down);
        for (int i = 0; !other.start(patience) && i < 1000; ++i)
            std::this_thread::sleep_for(5ms);
        CHECK(other.state() == State::connected);
    }
}

TEST_CASE("websocket server: pages are served, counted apart, and make no event")
{
    Trial trial{
        {.path = "/feed",
         .pages = {{"/", {.bytes = text_of(1'000'000)}}, {"/bad", {.make = []() -> std::string {
                                                              throw std::runtime_error{"it failed"};
                                                          }}}}}};
    const auto get = [&](std::string_view method, std::string_view target,
                         std::string_view more = {}) {
        auto c = raw(trial.port());
        c.send(fmt::format("{} {} HTTP/1.1\r\nHost: h\r\n{}\r\n", method, target, more));
        std::this_thread::sleep_for(20ms); // a slow reader
        std::string all;
        for (std::string part(65'536, '\0');;) {
            const auto got = ::recv(c.fd(), part.data(), part.size(), 0);
            if (got <= 0) {
                CHECK(got == 0); // no reset
                return all;
            }
            all.append(part, 0, static_cast<std::size_t>(got));
        }
    };
    const auto page = get("GET", "/");
    CHECK(page.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(page.ends_with("\r\n\r\n" + text_of(1'000'000)));
    CHECK(get("HEAD", "/").ends_with("Content-Length: 1000000\r\n\r\n"));
    const auto tag_at = page.find("ETag: ") + 6;
    const auto tag = page.substr(tag_at, page.find("\r\n", tag_at) - tag_at);
    CHECK(get("GET", "/", fmt::format("If-None-Match: {}\r\n", tag))
              .starts_with("HTTP/1.1 304 Not Modified\r\n"));
    trial.await(&Stats::clients_served, 3);
    CHECK(get("GET", "/bad").starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    CHECK(get("GET", "/other").starts_with("HTTP/1.1 404 Not Found\r\n"));
    trial.await(&Stats::clients_refused, 2);
    CHECK(trial.server.stats().clients_served == 3);
    CHECK(trial.server.next_event(Duration{}).error() == Error::timed_out);
}

TEST_CASE("websocket server: a page of its own counters")
{
    Trial* running = nullptr;
    Trial trial{{.pages = {{"/metrics", {.content_type = "text/plain; version=0.0.4", .make = [&] {
                                             return to_prometheus(running->server.stats());
                                         }}}}}};
    running = &trial;
    for (const char* count : {"0", "1"}) {
        auto c = raw(trial.port());
        c.send("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n");
        const auto page = read_all(c);
        CHECK(page.find("Content-Type: text/plain; version=0.0.4\r\n") != page.npos);
        CHECK(page.find(fmt::format("\nsidecar_clients_served_total {}\n", count)) != page.npos);
        trial.await(&Stats::clients_served, std::stoul(count) + 1);
    }
}

Task<RequestAnswer> answer_by_path(Context ctx, const Request& request)
{
    if (request.path == "/slow")
        co_await ctx.sleep_for(200ms);
    if (request.path == "/stuck")
        co_await ctx.sleep_for(1h);
    if (request.path == "/bad")
        throw std::runtime_error{"it failed"};
    if (request.path == "/no")
        co_return RequestAnswer{.status = 403, .headers = {{"X-Why", "no"}}, .body = "go away"};
    if (request.path == "/v1")
        co_return RequestAnswer{.subprotocol = "v1", .headers = {{"Set-Cookie", "a=b"}}};
    co_return RequestAnswer{};
}

TEST_CASE("websocket server: on_request accepts, chooses and refuses")
{
    Trial trial{{.subprotocols = {"v2"}, .on_request = answer_by_path, .handshake_timeout = 2s}};
    const auto client = [&](std::string_view path) {
        return std::make_unique<Client>(
            WebSocket::Options{.url = trial.url(path), .subprotocols = {"v1", "v2"}},
            Trial::quiet());
    };
    auto stuck = client("/stuck");
    REQUIRE(stuck->start_in_background(patience));
    auto slow = client("/slow");
    REQUIRE(slow->start_in_background(patience));
    auto quick = client("/quick");
    CHECK(quick->start(patience)); // beside the others
    CHECK(quick->link().value().protocol() == "v2");
    auto first = client("/v1");
    CHECK(first->start(patience));
    CHECK(first->link().value().protocol() == "v1");
    CHECK(first->link().value().connection_info().header("Set-Cookie") == "a=b");
    CHECK(slow->wait_started(patience));
    for (const auto& [path, status] : {std::pair{"/no", 403}, std::pair{"/bad", 500}}) {
        const auto refused = client(path)->start(patience);
        REQUIRE_FALSE(refused);
        CHECK(refused.error().http_status() == status);
    }
    auto c = raw(trial.port());
    c.send(handshake({}, "/no"));
    const auto answer = read_all(c);
    CHECK(answer.find("X-Why: no\r\n") != answer.npos);
    CHECK(answer.ends_with("\r\n\r\ngo away"));
    CHECK_FALSE(stuck->wait_started(patience)); // the time for the handshake is over
    trial.await(&Stats::clients_refused, 4);
}

TEST_CASE("websocket server: require_bearer lets in who has the token")
{
    Trial trial{{.on_request = require_bearer("s3cret-token")}};
    struct Case {
        const char* field;
        const char* status;
    };
    constexpr Case cases[] = {
        {"", "401"},
        {"Authorization: Bearer s3cret-toke\r\n", "401"},
        {"Authorization: Bearer s3cret-token2\r\n", "401"},
        {"Authorization: Bearer \r\n", "401"},
        {"Authorization: Basic s3cret-token\r\n", "401"},
        {"Authorization: Bearer s3cret-token\r\n", "101"},
        {"authorization: bearer s3cret-token\r\n", "101"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.field);
        auto c = raw(trial.port());
        c.send(handshake(one.field));
        const auto head = c.read_until("\r\n\r\n");
        CHECK(head.substr(9, 3) == one.status);
        CHECK((head.find("WWW-Authenticate: Bearer") != head.npos)
              == (std::string{one.status} == "401"));
    }
    CHECK(connect({.url = trial.url(), .bearer = "s3cret-token"})->state() == State::connected);
}

TEST_CASE("websocket server: a client that breaks the protocol hears why, and only its link ends")
{
    Trial trial{{.max_message_bytes = 100}};
    auto good = connect({.url = trial.url()});
    (void)trial.next(Kind::up);
    struct Case {
        std::string bytes;
        std::string close;
        Error error;
    };
    const Case cases[] = {
        {frame(0x81, "unmasked"), "\x03\xea", Error::protocol_violation},
        {masked(0x81, "\xff"), "\x03\xef", Error::protocol_violation},
        {masked(0x83, ""), "\x03\xea", Error::protocol_violation},
        {masked(0x81, std::string(101, 'x')), "\x03\xf1", Error::too_big},
        {masked(0x88, "\x0f\xa1"), "\x0f\xa1", Error::closed_by_peer},
        {masked(0x88, ""), "", Error::closed_by_peer},
    };
    for (const auto& one : cases) {
        auto c = raw(trial.port());
        // the client need not wait for the answer to its handshake
        c.send(handshake() + masked(0x89, "ping") + masked(0x81, "hello") + one.bytes);
        CHECK(c.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
        CHECK(read_all(c) == frame(0x8a, "ping") + frame(0x88, one.close));
        const auto link = trial.next(Kind::up).link;
        CHECK(trial.next(Kind::message).message.text() == "hello");
        const auto down = trial.next(Kind::down);
        CHECK(down.link == link);
        CHECK(down.failure == one.error);
    }
    REQUIRE(good->send("still here"));
    CHECK(trial.server.receive(patience).value().text() == "still here");
}

TEST_CASE("websocket server: a client that answers no ping is given up, one that answers stays")
{
    Trial trial{{}, {.ping_interval = 50ms, .ping_timeout = 300ms}};
    auto good = connect({.url = trial.url()});
    const auto good_link = trial.next(Kind::up).link;
    auto c = raw(trial.port());
    c.send(handshake());
    const auto silent = trial.next(Kind::up).link;
    const auto down = trial.next(Kind::down);
    CHECK(down.link == silent);
    CHECK(down.failure == Error::unresponsive);
    CHECK(c.read_until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
    CHECK(c.read(2) == "\x89\x08");
    CHECK(trial.server.link(good_link).value().is_up());
}

TEST_CASE("websocket server: on a Unix-domain socket")
{
    Trial trial{{.unix_path = fmt::format("@sidecar-websocket-server-{}", ::getpid())}};
    CHECK(trial.port() == 0);
    auto client =
        connect({.url = fmt::format("ws+unix:@sidecar-websocket-server-{}:/x?y", ::getpid())});
    const auto up = trial.next(Kind::up);
    CHECK(up.client->path == "/x");
    CHECK(trial.server.broadcast("hello").value() == 1);
    CHECK(client->receive(patience).value().text() == "hello");
}

} // namespace websocket_server_test
