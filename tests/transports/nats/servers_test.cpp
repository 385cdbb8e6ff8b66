// The servers that the other tests start.
#include "support/nats_server.hpp"

#include <doctest/doctest.h>

#include <string>

namespace servers_test {

TEST_CASE("NATS server: killed and started again it has its port")
{
    NatsServer server;
    const auto port = server.port();
    server.kill();
    CHECK_FALSE(NatsWire{port}.is_connected);
    server.restart();
    CHECK(server.port() == port);
    CHECK(server.first_line().starts_with("INFO "));
}

TEST_CASE("NATS server: paused it answers nothing, resumed it does")
{
    NatsServer server;
    NatsWire wire{server.port()};
    (void)wire.line();
    server.pause();
    wire.send("CONNECT {}\r\nPING\r\n");
    server.resume();
    CHECK(wire.line() == "+OK");
    CHECK(wire.line() == "PONG");
    server.pause(); // and it ends all the same
}

TEST_CASE("NATS server: in lame duck mode it says so and cuts")
{
    NatsServer server{"lame_duck_grace_period: \"100ms\""};
    NatsWire wire{server.port()};
    (void)wire.line();
    wire.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n");
    CHECK(wire.line() == "PONG");
    server.enter_lame_duck();
    CHECK(wire.line().find("\"ldm\":true") != std::string::npos);
    for (std::string line = wire.line(); !line.empty(); line = wire.line())
        CHECK(line == "-ERR 'Server Shutdown'");
}

TEST_CASE("NATS server: three of one cluster know each other, again after one was killed")
{
    NatsCluster cluster{"jetstream { store_dir: \"$DIR\" }"};
    cluster[0].kill();
    cluster[1].wait_for_servers(2);
    cluster[0].restart();
    for (std::size_t i = 0; i < cluster.size(); ++i)
        cluster[i].wait_for_servers(3);
}

TEST_CASE("NATS server: one that cannot start shows its log")
{
    std::string failure;
    try {
        NatsServer server{"nonsense {"};
    } catch (const std::runtime_error& e) {
        failure = e.what();
    }
    CHECK(failure.find("ended") != std::string::npos);
    CHECK(failure.find("Parse error") != std::string::npos);
}

} // namespace servers_test
