// Unix-domain sockets, by path and by abstract name.
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"
#include "support/unix_places.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <fstream>
#include <optional>
#include <thread>

namespace unix_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Feeds = Sidecar<Tcp<Lines>>;

void say_hello(RawConnection& c)
{
    c.send("hello\n");
    c.wait_for_end();
}

Failure failure_of_start(std::string host)
{
    Feeds feed{{.host = std::move(host)}, silent_options()};
    return feed.start(10s).error();
}

TEST_CASE("unix: messages go both ways, by path and by abstract name")
{
    const Directory directory;
    const auto abstract = "@sidecar-test-" + std::to_string(::getpid());
    for (const auto& path :
         {directory.at("feed.sock"), directory.at("with space:colon"), abstract}) {
        CAPTURE(path);
        std::string line;
        RawPeer peer{[&](RawConnection& c) {
                         line = c.read_until("\n");
                         say_hello(c);
                     },
                     RawPeer::UnixPath{path}};
        Feeds feed{{.host = "unix:" + path, .proxy = {.url = "http://127.0.0.1:1"}},
                   silent_options()};
        REQUIRE(feed.start(10s));
        CHECK(feed.send("hi"));
        CHECK(feed.receive(10s).value().text() == "hello");
        CHECK(line == "hi\n");
        CHECK(Tcp<Lines>::endpoint({.host = "unix:" + path}) == "unix:" + path);
        const auto report = feed.stop();
        CHECK(report.joined);
    }
}

TEST_CASE("unix: where there is no socket, nobody who listens or no permission, the path and the "
          "reason are told")
{
    const Directory directory;
    const auto missing = failure_of_start("unix:" + directory.at("missing"));
    CHECK(missing == Error::connect_failed);
    CHECK(missing.cause().value() == ENOENT);
    CHECK(missing.endpoint() == "unix:" + directory.at("missing"));
    CHECK(missing.message().find("the socket " + directory.at("missing")) != std::string::npos);

    {
        RawPeer gone{say_hello, RawPeer::UnixPath{directory.at("left")}};
    }
    const auto refused = failure_of_start("unix:" + directory.at("left"));
    CHECK(refused == Error::connect_failed);
    CHECK(refused.cause() == boost::asio::error::connection_refused);

    std::ofstream{directory.at("file")} << "no socket";
    CHECK(failure_of_start("unix:" + directory.at("file")) == Error::connect_failed);
    CHECK(failure_of_start("unix:" + directory.at("file/below")).cause().value() == ENOTDIR);
}

TEST_CASE("unix: a socket that is forbidden, or lies where one may not go, is told with its path")
{
    const Directory directory;
    const auto path = directory.at("forbidden");
    RawPeer peer{say_hello, RawPeer::UnixPath{path}};
    for (const mode_t folder : {0755, 0}) {
        REQUIRE(::chmod(directory.path.c_str(), 0755) == 0);
        REQUIRE(::chmod(path.c_str(), 0) == 0);
        REQUIRE(::chmod(directory.path.c_str(), folder) == 0);
        std::optional<Failure> failure;
        {
            const WithoutPrivileges nobody;
            failure = failure_of_start("unix:" + path);
        }
        REQUIRE(::chmod(directory.path.c_str(), 0755) == 0);
        CHECK(*failure == Error::connect_failed);
        CHECK(failure->cause().value() == EACCES);
        CHECK(failure->endpoint() == "unix:" + path);
        CHECK(failure->message().find("the socket " + path + ": Permission denied")
              != std::string::npos);
    }
}

TEST_CASE("unix: what is no path of a socket is refused before anything is tried")
{
    const auto why = [](std::string host, std::uint16_t port = 0) {
        Feeds feed{{.host = std::move(host), .port = port}, silent_options()};
        const auto failure = feed.start(10s).error();
        CHECK(failure == Error::bad_address);
        return failure.message();
    };
    CHECK(why("unix:").find("no path") != std::string::npos);
    CHECK(why("unix:@").find("empty") != std::string::npos);
    CHECK(why("unix:/s", 1).find("no port") != std::string::npos);
    CHECK(why("unix:/" + std::string(107, 's')).find("108 bytes") != std::string::npos);
    CHECK(why(std::string("unix:/a\0b", 9)).find("zero byte") != std::string::npos);
    CHECK(why(std::string("unix:/a\0b", 9)).find('\0') == std::string::npos);
    const Directory directory;
    const auto longest = directory.path + "/" + std::string(106 - directory.path.size(), 's');
    RawPeer peer{say_hello, RawPeer::UnixPath{longest}};
    Feeds feed{{.host = "unix:" + longest}, silent_options()};
    CHECK(feed.start(10s));
}

TEST_CASE("unix: a server whose backlog is full is waited for, until the deadline or the stop")
{
    const auto name = "@sidecar-full-" + std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, name.size());
    address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    const auto* const any = reinterpret_cast<const sockaddr*>(&address);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::bind(listener, any, size) == 0);
    REQUIRE(::listen(listener, 0) == 0);
    const int first = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(first, any, size) == 0);

    Feeds late{{.host = "unix:" + name}, silent_options()};
    const auto failure = late.start(100ms).error();
    CHECK(failure == Error::timed_out);
    CHECK(failure.message().find("backlog is full") != std::string::npos);

    Feeds stopped{{.host = "unix:" + name}, silent_options()};
    std::thread starter{[&] { CHECK(stopped.start(20s).error() == Error::stopping); }};
    while (stopped.dump().find("backlog") == std::string::npos)
        std::this_thread::yield();
    const auto report = stopped.stop();
    CHECK(report.joined);
    starter.join();

    Feeds patient{{.host = "unix:" + name}, silent_options({.total = 10s, .close = 20ms})};
    std::thread acceptor{[&] {
        while (patient.dump().find("backlog") == std::string::npos)
            std::this_thread::yield();
        ::close(::accept(listener, nullptr, nullptr)); // the first, so that there is room
        const int accepted = ::accept(listener, nullptr, nullptr);
        ::send(accepted, "hello\n", 6, MSG_NOSIGNAL);
        char byte = 0;
        (void)::recv(accepted, &byte, 1, 0);
        ::close(accepted);
    }};
    CHECK(patient.start(10s));
    CHECK(patient.receive(10s).value().text() == "hello");
    (void)patient.stop();
    acceptor.join();
    ::close(first);
    ::close(listener);
}

} // namespace unix_test
