// Listening sockets: addresses, files, sockets of systemd, limits, shortages.
#include "faulty_stream.hpp"
#include "socket_acceptor.hpp"

#include "support/descriptors.hpp"
#include "support/own_context.hpp"
#include "support/raw_client.hpp"
#include "support/shortage.hpp"
#include "support/unix_places.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>

namespace acceptor_test {

using namespace sidecar;
using namespace sidecar::stream;
using namespace std::chrono_literals;

ListenTarget named(ListenTarget target)
{
    target.endpoint = listener_name(target);
    return target;
}

std::string port_of(const std::string& name) { return name.substr(name.rfind(':') + 1); }

/// An acceptor on a loop of the test.
class Trial {
public:
    explicit Trial(ListenTarget target) : acceptor{named(std::move(target))} {}

    /// Runs the coroutine to its end; false: it did not end in time.
    bool run(std::function<Task<>()> task, Duration patience = 10s)
    {
        bool is_over = false;
        std::exception_ptr exception;
        boost::asio::co_spawn(own.io, std::move(task), [&](std::exception_ptr e) {
            exception = e;
            is_over = true;
        });
        own.io.restart();
        for (const auto until = own.now() + patience; !is_over && own.now() < until;)
            own.io.run_one_until(until);
        if (exception)
            std::rethrow_exception(exception);
        return is_over;
    }
    std::optional<Failure> bind()
    {
        bool is_over = false;
        try {
            is_over = run([this] { return acceptor.bind(own.context()); });
        } catch (const Exception& e) {
            return e.failure();
        }
        REQUIRE(is_over);
        return std::nullopt;
    }
    AcceptedSocket accept()
    {
        std::optional<AcceptedSocket> accepted;
        const bool is_over =
            run([&]() -> Task<> { accepted = co_await acceptor.accept(own.context()); });
        REQUIRE(is_over);
        return *accepted;
    }
    /// Lets the acceptor look; nothing to accept is expected.
    void accept_nothing(Duration time)
    {
        boost::asio::co_spawn(own.io, acceptor.accept(own.context()),
                              [](std::exception_ptr, AcceptedSocket) {});
        own.io.restart();
        own.io.run_for(time);
    }

    OwnContext own;
    SocketAcceptor acceptor;
};

/// The only socket of the process that listens.
int listening_socket()
{
    int found = -1;
    for (const int fd : open_descriptors()) {
        int listens = 0;
        socklen_t size = sizeof listens;
        if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens == 1)
            found = fd;
    }
    REQUIRE(found >= 0);
    return found;
}

Result<void> check(ListenTarget target) { return validate(named(std::move(target))); }

TEST_CASE("acceptor: listens on the address that is given, and names both ends")
{
    const struct {
        const char *address, *local, *to, *peer;
    } table[] = {
        {"127.0.0.1", "127.0.0.1:", "127.0.0.1", "127.0.0.1:"},
        {"127.0.0.2", "127.0.0.2:", "127.0.0.2", "127.0.0.1:"},
        {"::1", "[::1]:", "[::1]", "[::1]:"},
        {"localhost", "127.0.0.1:", "127.0.0.1", "127.0.0.1:"},
        {"localhost", "127.0.0.1:", "[::1]", "[::1]:"},
        {"0.0.0.0", "0.0.0.0:", "127.0.0.1", "127.0.0.1:"},
        {"::", "[::]:", "[::1]", "[::1]:"},
        {"::", "[::]:", "127.0.0.1", "127.0.0.1:"}, // no "::ffff:"
    };
    for (const auto& row : table) {
        CAPTURE(row.address);
        CAPTURE(row.to);
        CHECK(check({.address = row.address}));
        Trial trial{{.address = row.address}};
        REQUIRE_FALSE(trial.bind());
        const auto bound = trial.acceptor.local();
        CHECK_MESSAGE(bound.starts_with(row.local), bound);
        CHECK(port_of(bound) != "0");
        const int client = connect_to(row.to + (":" + port_of(bound)));
        REQUIRE(client >= 0);
        const auto accepted = trial.accept();
        CHECK(accepted.admission == Admission::admitted);
        CHECK(accepted.peer.starts_with(row.peer));
        CHECK(accepted.open(trial.own.context())->peer() == accepted.peer);
        CHECK(accepted.local == row.to + (":" + port_of(bound)));
        ::close(client);
    }
}

TEST_CASE("acceptor: an address with a zone listens on that interface")
{
    std::ifstream interfaces{"/proc/net/if_inet6"};
    std::string hex, index, prefix, scope, flags, name, address;
    while (address.empty() && interfaces >> hex >> index >> prefix >> scope >> flags >> name)
        if (hex.starts_with("fe80"))
            for (std::size_t i = 0; i < hex.size(); i += 4)
                address += (i == 0 ? "" : ":") + hex.substr(i, 4);
    if (address.empty())
        return; // the machine has no such address
    address += "%" + name;
    CHECK(check({.address = address}));
    Trial trial{{.address = address}};
    REQUIRE_FALSE(trial.bind());
    const int client = connect_to(fmt::format("[{}]:{}", address, port_of(trial.acceptor.local())));
    REQUIRE(client >= 0);
    CHECK(trial.accept().peer.find("%" + name) != std::string::npos);
    ::close(client);
    Trial nowhere{{.address = "fe80::1%no-such0"}};
    CHECK(nowhere.bind().value().message().find("its zone names no interface")
          != std::string::npos);
}

TEST_CASE("acceptor: options that no listener can have are refused before anything is opened")
{
    const struct {
        ListenTarget target;
        Error error;
        const char* why;
    } table[] = {
        {{.address = ""}, Error::bad_address, "no address"},
        {{.address = "*"}, Error::bad_address, "0.0.0.0"},
        {{.address = "127.0.0.1:80"}, Error::bad_address, ".port = 80"},
        {{.address = "[::1]:80"}, Error::bad_address, ".port = 80"},
        {{.address = "[::1]"}, Error::bad_address, "no brackets"},
        {{.address = "http://localhost"}, Error::bad_address, "no URL"},
        {{.address = " ::1"}, Error::bad_address, "blank"},
        {{.address = "a..b"}, Error::bad_address, "empty part"},
        {{.address = "b\xc3\xbc"
                     "cher"},
         Error::bad_address,
         "ASCII"},
        {{.address = "::1", .unix_path = "/s"}, Error::bad_options, "no address"},
        {{.port = 1, .unix_path = "/s"}, Error::bad_options, "no port"},
        {{.unix_path = "@"}, Error::bad_address, "empty"},
        {{.unix_path = std::string(108, 's')}, Error::bad_address, "108 bytes"},
        {{.unix_path = std::string{"/a\0b", 4}}, Error::bad_address, "zero byte"},
        {{.unix_path = "/s", .unix_mode = 01777}, Error::bad_options, "unix_mode"},
        {{.port = 1, .activated = "web"}, Error::bad_options, "already"},
        {{.activated = "web"}, Error::bad_options, "LISTEN_PID"},
        {{.max_connections_per_second = -1}, Error::bad_options, "max_connections_per_second"},
        {{.socket = {.bind_address = "::1"}}, Error::bad_options, "bind_address"},
        {{.unix_path = "/s", .socket = {.user_timeout = 1s}}, Error::bad_options, "user_timeout"},
        {{.faults = Faults{.reset = 2}}, Error::bad_options, "faults"},
    };
    for (const auto& row : table) {
        const auto refused = check(row.target);
        REQUIRE_FALSE(refused);
        CHECK(refused.error() == row.error);
        CHECK(refused.error().attempted() == "listen");
        CHECK_MESSAGE(refused.error().message().find(row.why) != std::string::npos,
                      refused.error().message());
    }
}

TEST_CASE("acceptor: a port in use, a foreign address, a low port: at once, with the reason")
{
    Trial first{{}};
    REQUIRE_FALSE(first.bind());
    const auto port = static_cast<std::uint16_t>(std::stoi(port_of(first.acceptor.local())));
    const auto failure_at = [](ListenTarget target, int error, const char* why) {
        Trial trial{std::move(target)};
        const auto failure = trial.bind();
        REQUIRE(failure);
        CHECK(*failure == Error::connect_failed);
        CHECK(failure->attempted() == "listen");
        CHECK(failure->cause().value() == error);
        CHECK_MESSAGE(failure->message().find(why) != std::string::npos, failure->message());
    };
    failure_at({.port = port}, EADDRINUSE,
               fmt::format("127.0.0.1:{}: another socket has this port", port).c_str());
    failure_at({.address = "localhost", .port = port}, EADDRINUSE, "127.0.0.1");
    failure_at({.address = "192.0.2.1"}, EADDRNOTAVAIL, "192.0.2.1:0: this machine does not have");
    failure_at({.address = "2001:db8::1"}, EADDRNOTAVAIL, "[2001:db8::1]:0: this machine");
    {
        const WithoutPrivileges nobody;
        std::ifstream setting{"/proc/sys/net/ipv4/ip_unprivileged_port_start"};
        int lowest = 1024;
        setting >> lowest;
        if (lowest > 1)
            failure_at({.port = 1}, EACCES, "CAP_NET_BIND_SERVICE");
    }
    // Those of IPv6 count for "localhost" too
    Trial v6{{.address = "::1"}};
    REQUIRE_FALSE(v6.bind());
    failure_at({.address = "localhost",
                .port = static_cast<std::uint16_t>(std::stoi(port_of(v6.acceptor.local())))},
               EADDRINUSE, "[::1]:");
}

TEST_CASE("acceptor: the port is free at once after a close, even with connections that end")
{
    std::uint16_t port = 0;
    for (int round = 0; round < 20; ++round) {
        Trial trial{{.port = port}};
        REQUIRE_FALSE(trial.bind());
        port = static_cast<std::uint16_t>(std::stoi(port_of(trial.acceptor.local())));
        const int client = connect_to(trial.acceptor.local());
        REQUIRE(client >= 0);
        auto accepted = trial.accept();
        accepted.open(trial.own.context())->abort(); // our end first: it waits in TIME_WAIT
        CHECK(has_ended(client));
        ::close(client);
    }
}

TEST_CASE("acceptor: the port is free after a close although a child process holds the socket")
{
    Trial trial{{}};
    REQUIRE_FALSE(trial.bind());
    const auto local = trial.acceptor.local();
    int pipe[2] = {};
    REQUIRE(::pipe(pipe) == 0);
    std::fflush(nullptr); // else the child may print it again
    const pid_t child = ::fork();
    if (child == 0) {
        char byte = 0;
        ::close(pipe[1]);
        (void)!::read(pipe[0], &byte, 1); // until the parent closes its end
        ::_exit(0);
    }
    trial.acceptor.close();
    CHECK(connect_to(local) == -ECONNREFUSED);
    Trial next{{.port = static_cast<std::uint16_t>(std::stoi(port_of(local)))}};
    CHECK_FALSE(next.bind());
    const int client = connect_to(local);
    CHECK(client >= 0);
    CHECK(next.accept().admission == Admission::admitted);
    ::close(client);
    ::close(pipe[0]);
    ::close(pipe[1]);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
}

TEST_CASE("acceptor: accepted sockets have the options, and no child inherits one")
{
    const auto known = open_descriptors();
    Trial trial{{.socket = {.receive_buffer_bytes = 30000,
                            .send_buffer_bytes = 20000,
                            .user_timeout = 7s,
                            .keep_alive_idle = 8s,
                            .keep_alive_probes = 3}}};
    REQUIRE_FALSE(trial.bind());
    const int client = connect_to(trial.acceptor.local());
    REQUIRE(client >= 0);
    const auto accepted = trial.accept();
    const auto ours = sockets_to(
        static_cast<std::uint16_t>(std::stoi(accepted.peer.substr(accepted.peer.rfind(':') + 1))));
    REQUIRE(ours.size() == 1);
    const auto option = [&](int level, int name) {
        int value = -1;
        socklen_t size = sizeof value;
        ::getsockopt(ours[0], level, name, &value, &size);
        return value;
    };
    CHECK(option(SOL_SOCKET, SO_RCVBUF) == 60000);
    CHECK(option(SOL_SOCKET, SO_SNDBUF) == 40000);
    CHECK(option(IPPROTO_TCP, TCP_USER_TIMEOUT) == 7000);
    CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == 8);
    CHECK(option(IPPROTO_TCP, TCP_KEEPCNT) == 3);
    CHECK(option(IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(inheritable_descriptors(known) == "");
    ::close(client);
}

mode_t mode_of(const std::string& path)
{
    struct stat status {};
    return ::lstat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

TEST_CASE("acceptor: the file of a Unix-domain socket has its mode, and goes with the listener")
{
    const Directory directory;
    const auto path = directory.at("with space");
    for (const unsigned mode : {0600u, 0666u, 0777u, 0u}) {
        CHECK(check({.unix_path = path, .unix_mode = mode}));
        Trial trial{{.unix_path = path, .unix_mode = mode}};
        REQUIRE_FALSE(trial.bind());
        CHECK(mode_of(path) == mode);
        CHECK(trial.acceptor.local() == "unix:" + path);
        const int client = connect_to("unix:" + path);
        REQUIRE(client >= 0); // root may
        const auto accepted = trial.accept();
        CHECK(accepted.peer == fmt::format("unix:pid={},uid={}", ::getpid(), ::getuid()));
        CHECK(accepted.open(trial.own.context())->peer() == accepted.peer);
        CHECK(accepted.local == "unix:" + path);
        ::close(client);
        trial.acceptor.close();
        CHECK_FALSE(std::filesystem::exists(path));
    }
    CHECK(std::filesystem::is_empty(directory.path));
    const auto abstract = fmt::format("@sidecar-acceptor-{}", ::getpid());
    Trial trial{{.unix_path = abstract}};
    REQUIRE_FALSE(trial.bind());
    CHECK(trial.acceptor.local() == "unix:" + abstract);
    const int client = connect_to("unix:" + abstract);
    REQUIRE(client >= 0);
    CHECK(trial.accept().local == "unix:" + abstract);
    ::close(client);
    Trial second{{.unix_path = abstract}};
    CHECK(second.bind().value().message().find("another program listens") != std::string::npos);
}

TEST_CASE("acceptor: a stale socket goes, anything else at the path stays")
{
    const Directory directory;
    const auto stale = directory.at("stale"), file = directory.at("file");
    const auto make_socket = [](const std::string& path, int type, bool listens) {
        const int fd = ::socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        if (listens)
            REQUIRE(::listen(fd, 0) == 0);
        return fd;
    };
    ::close(make_socket(stale, SOCK_STREAM, true));
    REQUIRE(std::filesystem::exists(stale));
    {
        Trial trial{{.unix_path = stale}};
        REQUIRE_FALSE(trial.bind());
        Trial second{{.unix_path = stale}};
        const auto failure = second.bind();
        REQUIRE(failure);
        CHECK(failure->cause().value() == EADDRINUSE);
        CHECK(failure->endpoint() == "unix:" + stale);
        CHECK(failure->message().find("another program listens there") != std::string::npos);
        second.acceptor.close();
        CHECK(connect_to("unix:" + stale) >= 0); // the first one's file is still there
    }
    std::ofstream{file} << "precious";
    const auto full = directory.at("full"), datagrams = directory.at("datagrams");
    const int listener = make_socket(full, SOCK_STREAM, true);
    const int first = connect_to("unix:" + full); // its backlog of one
    const int other = make_socket(datagrams, SOCK_DGRAM, false);
    const struct {
        std::string path;
        const char* why;
    } table[] = {{file, "no socket is there"},
                 {directory.path, "no socket is there"},
                 {full, "another program listens there"},
                 {datagrams, "a socket is there"},
                 {directory.at("no/such"), "No such file"},
                 {directory.at("file/below"), "Not a directory"}};
    for (const auto& row : table) {
        Trial trial{{.unix_path = row.path}};
        const auto failure = trial.bind();
        REQUIRE(failure);
        CHECK(*failure == Error::connect_failed);
        CHECK_MESSAGE(failure->message().find(row.why) != std::string::npos, failure->message());
    }
    CHECK(std::filesystem::file_size(file) == 8);
    CHECK(std::filesystem::exists(full));
    CHECK(std::filesystem::exists(datagrams));
    for (const int fd : {listener, first, other})
        ::close(fd);
}

TEST_CASE("acceptor: a file that another program has put in place of ours stays")
{
    const Directory directory;
    const auto path = directory.at("feed.sock");
    Trial old{{.unix_path = path}};
    REQUIRE_FALSE(old.bind());
    std::filesystem::remove(path);
    Trial young{{.unix_path = path}};
    REQUIRE_FALSE(young.bind());
    old.acceptor.close();
    CHECK(connect_to("unix:" + path) >= 0);
}

TEST_CASE("acceptor: of two listeners that meet a stale file at once, one listens")
{
    const Directory directory;
    const auto path = directory.at("feed.sock");
    for (int round = 0; round < 100; ++round) {
        Trial one{{.unix_path = path}}, other{{.unix_path = path}};
        {
            Trial gone{{.unix_path = path}};
            REQUIRE_FALSE(gone.bind());
            std::filesystem::rename(path, directory.at("kept"));
        }
        std::filesystem::rename(directory.at("kept"), path); // stale
        std::atomic<int> ready{0};
        int failures = 0;
        const auto bind = [&](Trial& trial, bool& has_failed) {
            ++ready;
            while (ready != 2)
                ;
            has_failed = trial.bind().has_value();
        };
        bool first_failed = false, second_failed = false;
        std::thread thread{[&] { bind(other, second_failed); }};
        bind(one, first_failed);
        thread.join();
        failures = first_failed + second_failed;
        CHECK(failures == 1);
        const int client = connect_to("unix:" + path);
        REQUIRE(client >= 0);
        (void)(first_failed ? other : one).accept(); // the file leads to the one that listens
        ::close(client);
    }
}

TEST_CASE("acceptor: refused connections have their reason, further ones are closed at once")
{
    Trial trial{{.max_clients = 1}};
    REQUIRE_FALSE(trial.bind());
    std::vector<int> clients;
    std::vector<AcceptedSocket> accepted;
    for (std::size_t i = 0; i < AdmissionControl::max_refused + 11; ++i)
        clients.push_back(connect_to(trial.acceptor.local()));
    for (std::size_t i = 0; i < AdmissionControl::max_refused + 1; ++i)
        accepted.push_back(trial.accept());
    CHECK(accepted[0].admission == Admission::admitted);
    for (std::size_t i = 1; i < accepted.size(); ++i)
        CHECK(accepted[i].admission == Admission::too_many);
    const auto before = open_descriptors().size();
    trial.accept_nothing(50ms);
    CHECK(open_descriptors().size() == before);
    for (std::size_t i = accepted.size(); i < clients.size(); ++i)
        CHECK(has_ended(clients[i]));
    REQUIRE(trial.own.logs.size() == 1);
    CHECK(trial.own.logs[0].find("64 refused connections") != std::string::npos);
    accepted.clear();
    for (const int fd : clients) {
        CHECK(has_ended(fd));
        ::close(fd);
    }
    trial.acceptor.close();
    trial.own.io.run();

    Trial other{{.max_clients_per_address = 1}};
    REQUIRE_FALSE(other.bind());
    const int first = connect_to(other.acceptor.local()),
              second = connect_to(other.acceptor.local());
    auto admitted = other.accept();
    CHECK(admitted.admission == Admission::admitted);
    CHECK(other.accept().admission == Admission::too_many_of_address);
    admitted = {}; // its client is gone
    const int third = connect_to(other.acceptor.local());
    CHECK(other.accept().admission == Admission::admitted);
    for (const int fd : {first, second, third})
        ::close(fd);
}

TEST_CASE("acceptor: what is closed at once is counted in the log when answers are possible again")
{
    Trial trial{{.max_connections_per_second = 1}};
    REQUIRE_FALSE(trial.bind());
    std::vector<int> clients;
    for (std::size_t i = 0; i < AdmissionControl::max_refused + 4; ++i)
        clients.push_back(connect_to(trial.acceptor.local()));
    std::vector<AcceptedSocket> accepted;
    for (std::size_t i = 0; i < AdmissionControl::max_refused + 1; ++i)
        accepted.push_back(trial.accept());
    CHECK(accepted.back().admission == Admission::too_fast);
    bool has_accepted = false;
    boost::asio::co_spawn(trial.own.io, trial.acceptor.accept(trial.own.context()),
                          [&](std::exception_ptr, AcceptedSocket) { has_accepted = true; });
    trial.own.io.restart();
    trial.own.io.run_for(20ms);
    CHECK_FALSE(has_accepted);
    accepted.clear();
    clients.push_back(connect_to(trial.acceptor.local()));
    while (!has_accepted)
        trial.own.io.run_one();
    REQUIRE(trial.own.logs.size() == 2);
    CHECK(trial.own.logs[1].find("closed 3 refused connections") != std::string::npos);
    for (const int fd : clients)
        ::close(fd);
}

TEST_CASE("acceptor: without descriptors it says so once, waits, and goes on"
          * doctest::skip(needs_descriptors))
{
    Trial trial{{}};
    REQUIRE_FALSE(trial.bind());
    std::vector<int> clients;
    for (int i = 0; i < 3; ++i)
        clients.push_back(connect_to(trial.acceptor.local()));
    std::vector<AcceptedSocket> accepted;
    bool is_over = false;
    boost::asio::co_spawn(
        trial.own.io,
        [&]() -> Task<> {
            while (accepted.size() < 4)
                accepted.push_back(co_await trial.acceptor.accept(trial.own.context()));
        },
        [&](std::exception_ptr) { is_over = true; });
    trial.own.io.restart();
    {
        const Shortage none{0};
        trial.own.io.run_for(300ms);
        CHECK(accepted.empty());
        REQUIRE(trial.own.logs.size() == 1);
        CHECK(trial.own.logs[0].find("Too many open files") != std::string::npos);
        CHECK(trial.own.logs[0].starts_with("127.0.0.1:0: "));
    }
    while (accepted.size() < 3)
        trial.own.io.run_one();
    REQUIRE(trial.own.logs.size() == 2);
    CHECK(trial.own.logs[1].find("again, after") != std::string::npos);
    clients.push_back(connect_to(trial.acceptor.local()));
    {
        const Shortage one_left{1}; // for the last client; nobody else waits, so nothing is short
        while (!is_over)
            trial.own.io.run_one();
        trial.accept_nothing(100ms);
    }
    CHECK(trial.own.logs.size() == 2);
    for (const int fd : clients)
        ::close(fd);
}

TEST_CASE("acceptor: bind says that there is no descriptor" * doctest::skip(needs_descriptors))
{
    const Directory directory;
    for (const auto& target : {ListenTarget{}, ListenTarget{.unix_path = directory.at("s")}}) {
        Trial trial{target};
        {
            boost::asio::steady_timer warm_up{trial.own.io};
        }
        const Shortage none{0};
        const auto failure = trial.bind();
        REQUIRE(failure);
        CHECK(*failure == Error::no_resources);
    }
    CHECK(std::filesystem::is_empty(directory.path));
}

TEST_CASE("acceptor: close ends a waiting accept and a shortage, accepted connections live on")
{
    Trial trial{{}};
    REQUIRE_FALSE(trial.bind());
    const int client = connect_to(trial.acceptor.local());
    const auto accepted = trial.accept();
    std::exception_ptr why;
    boost::asio::co_spawn(trial.own.io, trial.acceptor.accept(trial.own.context()),
                          [&](std::exception_ptr e, AcceptedSocket) { why = e; });
    trial.own.io.restart();
    trial.own.io.run_for(10ms);
    CHECK_FALSE(why);
    trial.acceptor.close();
    trial.own.io.run(); // to its end: nothing is left
    REQUIRE(why);
    try {
        std::rethrow_exception(why);
    } catch (const boost::system::system_error& e) {
        CHECK(e.code() == boost::asio::error::operation_aborted);
    }
    CHECK(connect_to(trial.acceptor.local()) == -ECONNREFUSED);
    CHECK(::send(client, "x", 1, MSG_NOSIGNAL) == 1);
    const auto stream = accepted.open(trial.own.context());
    char byte = 0;
    error_code ec;
    CHECK(trial.run([&]() -> Task<> {
        const ReadBuffers into{boost::asio::buffer(&byte, 1)};
        (void)co_await stream->read_some(into, ec);
    }));
    CHECK(byte == 'x');
    ::close(client);
}

TEST_CASE("acceptor: a listening socket that fails ends accept with the reason")
{
    Trial trial{{}};
    REQUIRE_FALSE(trial.bind());
    REQUIRE(::shutdown(listening_socket(), SHUT_RDWR) == 0); // as another part of the program may
    std::optional<Failure> failure;
    try {
        (void)trial.accept();
    } catch (const Exception& e) {
        failure = e.failure();
    }
    REQUIRE(failure);
    CHECK(*failure == Error::disconnected);
    CHECK(failure->attempted() == "accept");
    CHECK(failure->endpoint() == "127.0.0.1:0");
    CHECK(failure->cause().value() == EINVAL);
}

TEST_CASE("acceptor: 1,000 listeners, each with a client, leave no descriptor and no file")
{
    const Directory directory;
    const auto before = open_descriptors().size();
    for (int i = 0; i < 1000; ++i) {
        Trial trial{i % 2 == 0 ? ListenTarget{.address = "localhost"}
                               : ListenTarget{.unix_path = directory.at("s")}};
        REQUIRE_FALSE(trial.bind());
        const int client = connect_to(trial.acceptor.local());
        REQUIRE(client >= 0);
        if (i % 3 != 0)
            (void)trial.accept();
        ::close(client);
    }
    CHECK(open_descriptors().size() == before);
    CHECK(std::filesystem::is_empty(directory.path));
}

TEST_CASE("acceptor: faults of the options are those of accepted connections")
{
    Trial trial{{.faults = Faults{.seed = 1, .reset = 1}}};
    REQUIRE_FALSE(trial.bind());
    const int client = connect_to(trial.acceptor.local());
    CHECK(::send(client, "x", 1, MSG_NOSIGNAL) == 1);
    const auto accepted = trial.accept();
    const auto stream = accepted.open(trial.own.context());
    char byte = 0;
    error_code ec;
    CHECK(trial.run([&]() -> Task<> {
        const ReadBuffers into{boost::asio::buffer(&byte, 1)};
        (void)co_await stream->read_some(into, ec);
    }));
    CHECK(ec == boost::asio::error::connection_reset);
    REQUIRE(accepted.faults);
    CHECK(accepted.faults->note().find("reset") != std::string::npos);
    CHECK(has_ended(client));
    ::close(client);
}

// --- systemd

/// Runs in a child process whose descriptor 3 is `listener`, and 4 is no listener; returns its
/// answer.
std::string in_activated_child(int listener, const char* names,
                               const std::function<std::string()>& act)
{
    int pipe[2] = {};
    REQUIRE(::pipe(pipe) == 0);
    std::fflush(nullptr); // else the child may print it again
    const pid_t child = ::fork();
    if (child == 0) {
        // Above those that systemd passes
        const int out = ::fcntl(pipe[1], F_DUPFD, 100), in = ::fcntl(listener, F_DUPFD, 100);
        ::dup2(in, 3);
        ::dup2(::open("/dev/null", O_RDONLY), 4);
        ::close(in);
        ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
        ::setenv("LISTEN_FDS", "2", 1);
        ::setenv("LISTEN_FDNAMES", names, 1);
        std::string answer;
        try {
            answer = act();
        } catch (const std::exception& e) {
            answer = e.what();
        }
        (void)!::write(out, answer.data(), answer.size());
        ::_exit(0);
    }
    ::close(pipe[1]);
    std::string answer(4096, '\0');
    std::size_t size = 0;
    for (ssize_t n = 0; (n = ::read(pipe[0], answer.data() + size, answer.size() - size)) > 0;)
        size += static_cast<std::size_t>(n);
    answer.resize(size);
    ::close(pipe[0]);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    return answer;
}

TEST_CASE("activation: a socket of systemd serves each start of the process, and loses no client")
{
    const Directory directory;
    for (const bool is_unix : {false, true}) {
        Trial systemd{is_unix ? ListenTarget{.unix_path = directory.at("web.sock")}
                              : ListenTarget{}};
        REQUIRE_FALSE(systemd.bind());
        const auto local = systemd.acceptor.local();
        const int listener = listening_socket();
        std::vector<int> clients;
        for (int i = 0; i < 3; ++i) // before any server runs
            clients.push_back(connect_to(local));
        const auto answer = in_activated_child(listener, "web:other", [&] {
            std::string text;
            for (int start = 0; start < 3; ++start) {
                if (const auto valid = check({.activated = "web"}); !valid)
                    return valid.error().message();
                ::unsetenv("LISTEN_FDS"); // later starts do not need it
                Trial trial{{.activated = "web"}};
                if (const auto failure = trial.bind())
                    return failure->message();
                text += trial.acceptor.local() == local ? "bound " : trial.acceptor.local();
                text += trial.accept().admission == Admission::admitted ? "accepted " : "refused ";
                if (::fcntl(3, F_GETFD) != FD_CLOEXEC)
                    text += "inheritable ";
            }
            return text;
        });
        CHECK(answer == "bound accepted bound accepted bound accepted ");
        for (const int fd : clients) {
            CHECK(has_ended(fd));
            ::close(fd);
        }
        const int late = connect_to(local); // systemd's own is open all the time
        CHECK(late >= 0);
        ::close(late);
        if (is_unix)
            CHECK(std::filesystem::exists(directory.at("web.sock")));
        CHECK(in_activated_child(listener, "web:other",
                                 [] { return check({.activated = "admin"}).error().message(); })
                  .find("it passed \"web\", \"other\"")
              != std::string::npos);
        CHECK(in_activated_child(listener, "web:other",
                                 [] {
                                     (void)check({.activated = "other"});
                                     return Trial{{.activated = "other"}}.bind().value().message();
                                 })
                  .find("descriptor 4 is no listening stream socket")
              != std::string::npos);
    }
}

} // namespace acceptor_test
