// Server<Tcp<...>>: its clients over TCP, Unix-domain sockets and TLS, good ones and bad ones.
#include "support/certificates.hpp"
#include "support/descriptors.hpp"
#include "support/raw_client.hpp"
#include "support/shortage.hpp"
#include "support/silent_options.hpp"
#include "support/unix_places.hpp"

#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp_server.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace tcp_server_test {

using namespace sidecar;
using namespace std::chrono_literals;
using LineServer = Server<Tcp<Lines>>;
using Client = Sidecar<Tcp<Lines>>;
using ListenOptions = LineServer::ListenOptions;
using Kind = Event::Kind;

TlsServerOptions server_tls()
{
    return {.certificates = {{.certificate_file = certificate("valid.pem"),
                              .key_file = certificate("valid.key")}}};
}
TlsOptions client_tls() { return {.ca_file = certificate("ca.pem")}; }

/// Takes events up to the next of this kind.
Event next(Feed& feed, Kind kind)
{
    for (;;) {
        auto event = feed.next_event(10s);
        REQUIRE_MESSAGE(event, event.error().message());
        if (event->kind == kind)
            return *std::move(event);
    }
}
Event next_client(Feed& feed)
{
    for (;;)
        if (auto event = next(feed, Kind::up); event.client)
            return event;
}

/// Options of a client that connects to this address of a listener.
Tcp<Lines>::Options to(const std::string& address, bool is_secure = false)
{
    Tcp<Lines>::Options options{.host = address};
    if (!address.starts_with("unix:")) {
        const auto colon = address.rfind(':');
        options.host = address.substr(0, colon);
        if (options.host.front() == '[')
            options.host = options.host.substr(1, options.host.size() - 2);
        options.port = static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1)));
    }
    if (is_secure)
        options.tls = client_tls();
    return options;
}

void write_all(int fd, std::string_view bytes)
{
    while (!bytes.empty()) {
        const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        REQUIRE(n > 0);
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
}
void reset(int fd)
{
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    ::close(fd);
}

TEST_CASE("tcp server: echo and broadcast, over each kind of socket, with TLS and without")
{
    const Directory directory;
    const auto abstract = fmt::format("@sidecar-tcp-server-{}", ::getpid());
    for (const auto& place :
         {ListenOptions{}, ListenOptions{.address = "::1"}, ListenOptions{.address = "localhost"},
          ListenOptions{.unix_path = directory.at("s")}, ListenOptions{.unix_path = abstract}})
        for (const bool is_secure : {false, true}) {
            auto options = place;
            if (is_secure)
                options.tls = server_tls();
            LineServer server{options, silent_options()};
            REQUIRE(server.start(10s));
            const auto address = server.listener().value().address();
            CAPTURE(address);
            CHECK((server.port() != 0) == options.unix_path.empty());
            Client one{to(address, is_secure), silent_options()};
            Client two{to(address, is_secure), silent_options()};
            REQUIRE(one.start(10s));
            const auto up = next_client(server);
            CHECK(up.client->local == address);
            CHECK(up.client->peer.starts_with(options.unix_path.empty()
                                                  ? address.substr(0, address.rfind(':') + 1)
                                                  : fmt::format("unix:pid={},uid=", ::getpid())));
            CHECK(up.client->tls.has_value() == is_secure);
            REQUIRE(two.start(10s));
            (void)next_client(server);
            REQUIRE(one.send("hello"));
            const auto message = server.receive(10s).value();
            CHECK(message.text() == "hello");
            CHECK(message.link() == up.link);
            REQUIRE(server.link(message.link()).value().send("echo: hello"));
            CHECK(one.receive(10s).value().text() == "echo: hello");
            CHECK(server.broadcast("to all").value() == 2);
            CHECK(one.receive(10s).value().text() == "to all");
            CHECK(two.receive(10s).value().text() == "to all");
            CHECK(server.broadcast("two\nlines").error() == Error::bad_message);
            // The stop says goodbye: each client reads the last message, and then the end
            CHECK(server.broadcast("last").value() == 2);
            std::thread stopper{[&] { CHECK(server.stop().clean()); }};
            for (auto* client : {&one, &two}) {
                CHECK(client->receive(10s).value().text() == "last");
                const auto end = client->receive(10s).error();
                CHECK(end.cause() == boost::asio::error::eof);
            }
            stopper.join();
            CHECK(server.stop().clients_closed == 2);
        }
    CHECK(std::filesystem::is_empty(directory.path));
}

TEST_CASE("tcp server: why it cannot listen comes at once, with the address")
{
    LineServer first{{}, silent_options()};
    REQUIRE(first.start(10s));
    const auto refused = [](ListenOptions options, Error error, const char* why) {
        LineServer server{std::move(options), silent_options()};
        const auto started = server.start(10s);
        REQUIRE_FALSE(started);
        CHECK(started.error() == error);
        CHECK_FALSE(started.error().endpoint().empty());
        CHECK_MESSAGE(started.error().message().find(why) != std::string::npos,
                      started.error().message());
    };
    refused({.port = first.port()}, Error::connect_failed, "another socket has this port");
    refused({.address = "192.0.2.1"}, Error::connect_failed, "does not have the address");
    refused({.address = "http://::1"}, Error::bad_address, "address");
    refused({.unix_path = "/no/such/place"}, Error::connect_failed, "No such file");
    refused({.activated = "web"}, Error::bad_options, "LISTEN_PID");
    refused({.tls = TlsServerOptions{}}, Error::bad_options, "certificate");
    refused({.max_message_bytes = 0}, Error::bad_options, "message limit");
    using Prefixed = Server<Tcp<LengthPrefix>>;
    Prefixed odd{{.framing = {.width = 3}}, silent_options()};
    CHECK(odd.start(10s).error() == Error::bad_options);
    REQUIRE(first.stop().clean());
    REQUIRE(first.start({.port = 0}, 10s)); // and again
}

TEST_CASE("tcp server: a client beyond a limit is closed at once, and the next one is welcome when "
          "another has gone")
{
    LineServer server{{.max_clients = 1}, silent_options()};
    REQUIRE(server.start(10s));
    const auto address = server.listener().value().address();
    std::optional<Client> one{std::in_place, to(address), silent_options()};
    REQUIRE(one->start(10s));
    const auto up = next_client(server);
    for (int i = 0; i < 100; ++i) {
        const int fd = connect_to(address);
        CHECK(has_ended(fd));
        ::close(fd);
    }
    CHECK(server.client_count() == 1);
    CHECK(server.stats().errors == 0);
    one.reset();
    CHECK(next(server, Kind::down).link == up.link);
    Client two{to(address), silent_options()};
    bool is_in = false;
    for (int i = 0; i < 1000 && !is_in; ++i) // its place is free a moment after the event
        is_in = two.start(10s) && two.send("hello") && server.receive(1s);
    CHECK(is_in);
    CHECK(server.stats().clients_refused >= 100);
}

TEST_CASE("tcp server: a client that reads nothing holds up nobody, and its memory is bounded")
{
    LineServer server{{.socket = {.send_buffer_bytes = 4096},
                       .outbox = {.bytes = 64 << 10},
                       .overflow = {.on_gap =
                                        [](std::uint64_t missing) {
                                            return fmt::format("missing {}", missing);
                                        }}},
                      silent_options({.total = 10s, .drain = 100ms, .close = 100ms})};
    REQUIRE(server.start(10s));
    const auto address = server.listener().value().address();
    const int mute = connect_to(address);
    const int small = 4096;
    ::setsockopt(mute, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    const auto mute_link = server.link(next_client(server).link).value();
    Client reader{to(address), silent_options()};
    REQUIRE(reader.start(10s));
    (void)next_client(server);
    const std::string text(1000, 'x');
    int count = 0;
    for (; mute_link.stats().unsent_dropped < 1000 && count < 100'000; ++count) {
        REQUIRE(server.broadcast(text));
        REQUIRE(reader.receive(10s).value().text() == text);
    }
    CHECK(mute_link.stats().unsent_dropped >= 1000);
    CHECK(mute_link.stats().outbox_bytes <= 64u << 10);
    // Once it reads, it learns of the gap
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(mute, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::string seen(1 << 20, '\0');
    std::size_t size = 0;
    while (seen.find("missing ") == std::string::npos) {
        REQUIRE(size < seen.size());
        const auto n = ::recv(mute, seen.data() + size, seen.size() - size, 0);
        REQUIRE(n > 0);
        size += static_cast<std::size_t>(n);
    }
    ::close(mute);
    CHECK(server.stop().joined);
}

TEST_CASE("tcp server: resets and half messages end their client, and no other")
{
    using Prefixed = Server<Tcp<LengthPrefix>>;
    Prefixed server{{.max_message_bytes = 1000}, silent_options()};
    REQUIRE(server.start(10s));
    const auto address = server.listener().value().address();
    const int good = connect_to(address);
    (void)next_client(server);
    const struct {
        std::string bytes;
        bool is_reset;
        Error error;
        const char* why;
    } table[] = {
        {{}, false, Error::disconnected, "End of file"},
        {{}, true, Error::disconnected, "Connection reset"},
        {std::string{"\0\0\0\5ab", 6}, false, Error::disconnected, "in the middle of a message"},
        {std::string{"\0\0\0\5ab", 6}, true, Error::disconnected, "Connection reset"},
        {std::string{"\0\0\xff\0", 4}, false, Error::too_big, "65280 bytes"},
    };
    for (const auto& row : table) {
        const int bad = connect_to(address);
        const auto up = next_client(server);
        write_all(bad, row.bytes);
        row.is_reset ? reset(bad) : (void)::close(bad);
        const auto down = next(server, Kind::down);
        CHECK(down.link == up.link);
        REQUIRE(down.failure);
        CHECK(*down.failure == row.error);
        CHECK(down.failure->endpoint() == up.client->peer);
        CHECK_MESSAGE(down.failure->message().find(row.why) != std::string::npos,
                      down.failure->message());
        write_all(good, {"\0\0\0\1x", 5});
        CHECK(server.receive(10s).value().text() == "x");
    }
    // A reset before the server looks, many of them at once
    for (int i = 0; i < 50; ++i)
        reset(connect_to(address));
    write_all(good, {"\0\0\0\1y", 5});
    auto message = server.receive(10s);
    while (!message && message.error() == Error::disconnected) // one that came up before its reset
        message = server.receive(10s);
    REQUIRE(message);
    CHECK(message->text() == "y");
    ::close(good);
    CHECK(server.stop().joined);
}

TEST_CASE("tcp server: over TLS, clients that are mute, plain or untrusted are refused in time")
{
    auto tls = server_tls();
    tls.client_certificates = TlsServerOptions::ClientCertificates::required;
    tls.ca_file = certificate("ca.pem");
    LineServer server{{.tls = tls, .handshake_timeout = 300ms}, silent_options()};
    REQUIRE(server.start(10s));
    const auto address = server.listener().value().address();
    const int mute = connect_to(address), plain = connect_to(address), gone = connect_to(address);
    write_all(plain, "hello\n");
    reset(gone);
    auto options = to(address, true);
    options.tls->certificate_file = certificate("client.pem");
    options.tls->key_file = certificate("client.key");
    Client trusted{options, silent_options()};
    REQUIRE(trusted.start(10s));
    const auto up = next_client(server);
    REQUIRE(up.client->tls);
    CHECK(up.client->tls->is_verified);
    CHECK_FALSE(up.client->tls->certificate.subject.empty());
    REQUIRE(trusted.send("hello"));
    CHECK(server.receive(10s).value().text() == "hello");
    Client nameless{to(address, true), silent_options()};
    if (nameless.start(10s)) // TLS 1.3: the refusal comes behind the client's handshake
        CHECK_FALSE(nameless.receive(10s));
    CHECK(has_ended(mute));
    char buffer[256];
    while (::recv(plain, buffer, sizeof buffer, 0) > 0)
        ;
    for (int i = 0; i < 1000 && server.stats().clients_refused < 4; ++i)
        std::this_thread::sleep_for(10ms);
    CHECK(server.stats().clients_refused == 4);
    CHECK(server.client_count() == 1);
    CHECK(server.stats().errors == 0);
    ::close(mute);
    ::close(plain);
    CHECK(server.stop().joined);
}

TEST_CASE("tcp server: without descriptors it says so once, and serves the clients afterwards"
          * doctest::skip(needs_descriptors))
{
    std::mutex mutex;
    std::vector<std::string> logs; // guarded by mutex
    LineServer server{{}, {.log = [&](LogLevel, std::string_view text) {
                          const std::lock_guard lock{mutex};
                          logs.emplace_back(text);
                      }}};
    REQUIRE(server.start(10s));
    const auto address = server.listener().value().address();
    const int before = connect_to(address);
    (void)next_client(server);
    const auto logged = [&] {
        const std::lock_guard lock{mutex};
        return logs;
    };
    int waiting = -1;
    {
        const Shortage one_left{1};
        waiting = connect_to(address);
        while (logged().empty())
            std::this_thread::yield();
        write_all(before, "still here\n");
        CHECK(server.receive(10s).value().text() == "still here");
    }
    (void)next_client(server);
    write_all(waiting, "hello\n");
    CHECK(server.receive(10s).value().text() == "hello");
    const auto lines = logged();
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].find("Too many open files") != std::string::npos);
    CHECK(lines[1].find("again, after") != std::string::npos);
    ::close(before);
    ::close(waiting);
}

TEST_CASE("tcp server: 1,000 restarts on one port, each with a client, leak no descriptor")
{
    LineServer server{{}, silent_options()};
    REQUIRE(server.start(10s));
    const auto port = server.port();
    (void)server.stop();
    std::size_t before = 0;
    for (int i = 0; i < 1000; ++i) {
        REQUIRE_MESSAGE(server.start({.port = port, .close = TcpClose::at_once}, 10s), i);
        const int client = connect_to(fmt::format("127.0.0.1:{}", port));
        REQUIRE(client >= 0);
        if (i % 2 == 0) {
            (void)next_client(server);
            write_all(client, "x\n");
            REQUIRE(server.receive(10s));
            CHECK(server.broadcast("y").value() == 1);
        }
        const auto report = server.stop();
        CHECK(report.joined);
        CHECK(report.unsent_messages == 0);
        ::close(client);
        if (i == 0)
            before = open_descriptors().size();
    }
    CHECK(open_descriptors().size() == before);
}

TEST_CASE("tcp server: many clients of several threads come and go while broadcasts run")
{
    LineServer server{{.max_clients_per_address = 0, .max_connections_per_second = 0},
                      silent_options()};
    REQUIRE(server.start(10s));
    const auto address = server.listener().value().address();
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 40; ++i) {
                const int fd = connect_to(address);
                write_all(fd, "in\n");
                char byte = 0;
                CHECK(::recv(fd, &byte, 1, 0) == 1);
                (i + t) % 2 == 0 ? reset(fd) : (void)::close(fd);
            }
        });
    int ups = 0, downs = 0, messages = 0;
    while (downs < 120) {
        const auto event = server.next_event(10s);
        REQUIRE(event);
        ups += event->kind == Kind::up && event->client;
        downs += event->kind == Kind::down;
        messages += event->kind == Kind::message;
        REQUIRE(server.broadcast("tick"));
    }
    CHECK(ups == 120);
    CHECK(messages == 120);
    for (auto& thread : threads)
        thread.join();
    CHECK(server.stats().clients_accepted == 120);
    CHECK(server.stop().clean());
}

} // namespace tcp_server_test
