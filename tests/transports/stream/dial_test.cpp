// Connecting by name to real sockets of the loopback, some of them mute, closed or oneself.
#include "dial.hpp"
#include "listener.hpp"
#include "support/raw_peer.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <doctest/doctest.h>

#include <filesystem>
#include <thread>

namespace dial_test {

using namespace sidecar;
using namespace std::chrono_literals;
using Feeds = Sidecar<Tcp<Lines>>;
using Texts = std::vector<std::string>;

/// These peers do not say goodbye.
constexpr StopBudget brief{.total = 10s, .drain = 20ms, .close = 20ms, .cancel = 20ms};

Options with_addresses(const Texts& addresses)
{
    auto options = silent_options(brief);
    options.lookup = [addresses](const std::string&) {
        std::vector<boost::asio::ip::address> parsed;
        for (const auto& text : addresses)
            parsed.push_back(boost::asio::ip::make_address(text));
        return parsed;
    };
    return options;
}

std::uint16_t closed_port()
{
    const LoopbackListener gone{"127.0.0.1", 0};
    return gone.port();
}

std::size_t open_descriptors()
{
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

TEST_CASE("dial: a mute address costs a quarter of a second, not the whole time")
{
    LoopbackListener mute{"127.0.0.1", 0, true};
    LoopbackListener good{"127.0.0.2", mute.port()};
    Feeds feed{{.host = "two.example", .port = mute.port()},
               with_addresses({"127.0.0.1", "127.0.0.2"})};
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(feed.start(10s));
    const auto took = std::chrono::steady_clock::now() - began;
    CHECK(took >= 250ms);
    CHECK(took < 5s);
    good.accept().send("hello\n");
    CHECK(feed.receive(10s).value().text() == "hello");
}

TEST_CASE("dial: an address that refuses costs nothing, of either family")
{
    LoopbackListener good{"127.0.0.2", 0};
    for (const char* refusing : {"127.0.0.1", "::1"}) {
        CAPTURE(refusing);
        const auto began = std::chrono::steady_clock::now();
        Feeds feed{{.host = "two.example", .port = good.port()},
                   with_addresses({refusing, "127.0.0.2"})};
        REQUIRE(feed.start(10s));
        CHECK(std::chrono::steady_clock::now() - began < 200ms);
        good.accept().send("hello\n");
        CHECK(feed.receive(10s).value().text() == "hello");
    }
}

TEST_CASE("dial: the losers are closed")
{
    LoopbackListener mute{"127.0.0.1", 0, true};
    LoopbackListener good{"127.0.0.2", mute.port()};
    const auto before = open_descriptors();
    std::size_t with_one = 0;
    {
        Feeds feed{{.host = "127.0.0.2", .port = good.port()}, silent_options(brief)};
        REQUIRE(feed.start(10s));
        with_one = open_descriptors();
    }
    CHECK(open_descriptors() == before);
    Feeds feed{{.host = "three.example", .port = good.port()},
               with_addresses({"127.0.0.1", "127.0.0.1", "127.0.0.2"})};
    REQUIRE(feed.start(10s));
    CHECK(open_descriptors() == with_one);
}

TEST_CASE("dial: a start that runs out of time names all addresses at which it hangs")
{
    LoopbackListener mute{"127.0.0.1", 0, true};
    LoopbackListener also_mute{"127.0.0.2", mute.port(), true};
    const auto at = [&](const std::string& host) {
        return host + ":" + std::to_string(mute.port());
    };
    Feeds feed{{.host = "two.example", .port = mute.port()},
               with_addresses({"127.0.0.1", "127.0.0.2", "127.0.0.3"})};
    const auto failure = feed.start(3s).error();
    CHECK(failure == Error::timed_out);
    CHECK(failure.endpoint() == at("two.example"));
    CHECK(failure.explanation().find(at("127.0.0.1") + " and " + at("127.0.0.2"))
          != std::string::npos);
    CHECK(failure.explanation().find(at("127.0.0.3") + ": Connection refused")
          != std::string::npos);
}

TEST_CASE("dial: a stop while several attempts are under way ends at once")
{
    LoopbackListener mute{"127.0.0.1", 0, true};
    LoopbackListener also_mute{"127.0.0.2", mute.port(), true};
    Feeds feed{{.host = "two.example", .port = mute.port()},
               with_addresses({"127.0.0.1", "127.0.0.2"})};
    std::thread starter{[&] { CHECK(feed.start(20s).error() == Error::stopping); }};
    while (feed.dump().find("127.0.0.2:") == std::string::npos)
        std::this_thread::yield();
    const auto began = std::chrono::steady_clock::now();
    (void)feed.stop();
    CHECK(std::chrono::steady_clock::now() - began < 1s);
    starter.join();
}

TEST_CASE("dial: when every address fails, each is told with its reason")
{
    const auto port = closed_port();
    Feeds feed{{.host = "two.example", .port = port}, with_addresses({"127.0.0.1", "127.0.0.2"})};
    const auto failure = feed.start(10s).error();
    CHECK(failure == Error::connect_failed);
    const auto text = std::to_string(port) + ": Connection refused";
    CHECK(failure.explanation() == "127.0.0.1:" + text + "; 127.0.0.2:" + text);
}

TEST_CASE("dial: \"localhost\" is reached in whichever family its server listens")
{
    for (const bool is_v6 : {false, true}) {
        CAPTURE(is_v6);
        RawPeer peer{[](RawConnection& c) {
                         c.send("hello\n");
                         c.wait_for_end();
                     },
                     is_v6};
        // As the system's look-up gives it where /etc/hosts has ::1, whether there is IPv6 or not
        Feeds feed{{.host = "localhost", .port = peer.port()},
                   with_addresses({"::1", "127.0.0.1"})};
        REQUIRE(feed.start(10s));
        CHECK(feed.receive(10s).value().text() == "hello");
    }
}

TEST_CASE("dial: a connection that met itself is recognised")
{
    using boost::asio::ip::tcp;
    boost::asio::io_context io;
    for (const auto& loopback :
         {boost::asio::ip::make_address("127.0.0.1"), boost::asio::ip::make_address("::1")}) {
        tcp::socket alone{io};
        alone.open(tcp::endpoint{loopback, 0}.protocol());
        alone.bind({loopback, 0});
        alone.connect(alone.local_endpoint());
        CHECK(stream::is_connected_to_itself(alone));

        tcp::acceptor acceptor{io, {loopback, 0}};
        tcp::socket connected{io};
        connected.connect(acceptor.local_endpoint());
        CHECK_FALSE(stream::is_connected_to_itself(connected));
        CHECK_FALSE(stream::is_connected_to_itself(tcp::socket{io}));
    }
}

/// Runs the handlers of the attempts only when all have begun, so that they end in one turn.
class InOneTurn final : public ContextBase {
public:
    boost::asio::any_io_executor executor() override { return io.get_executor(); }
    TimePoint now() const override { return time; }
    Task<> sleep_until(TimePoint) override { co_return; }
    Task<bool> wait(LoopEvent&, TimePoint deadline) override
    {
        if (deadline != TimePoint::max()) { // another address is to be tried
            time = deadline;
            co_return false;
        }
        for (int i = 0; i < 10; ++i) // a connect on the loopback ends at once
            co_await boost::asio::post(io, boost::asio::use_awaitable);
        co_return true;
    }
    Task<std::vector<boost::asio::ip::address>> resolve(std::string) override
    {
        co_return std::vector{boost::asio::ip::make_address("127.0.0.1"),
                              boost::asio::ip::make_address("127.0.0.2"),
                              boost::asio::ip::make_address("127.0.0.1")};
    }
    void phase(Phase, std::string_view) override {}
    void negotiated(std::string_view) override {}
    void tried(std::string_view address, std::string_view outcome, Duration) override
    {
        outcomes.push_back(std::string{address} + " " + std::string{outcome});
    }
    void waiting_for(const char*) override {}
    void log(LogLevel, std::string_view) override {}

    boost::asio::io_context io;
    TimePoint time{};
    Texts outcomes;
};

TEST_CASE(
    "dial: an address that fails in the turn in which another connects is told with its reason")
{
    const LoopbackListener good{"127.0.0.1", 0};
    InOneTurn own;
    stream::Dialer dialer;
    std::shared_ptr<stream::Stream> connected;
    const auto connect = [&]() -> Task<> {
        const Context ctx{own, TimePoint::max()};
        const stream::SocketSetup setup;
        const std::string name = "three.example";
        connected = co_await dialer.connect(ctx, name, good.port(), setup, name);
    };
    boost::asio::co_spawn(own.io, connect,
                          [](std::exception_ptr exception) { CHECK_FALSE(exception); });
    own.io.run();
    REQUIRE(connected);
    const auto port = ":" + std::to_string(good.port()) + " ";
    CHECK(own.outcomes
          == Texts{"127.0.0.2" + port + "Connection refused", "127.0.0.1" + port,
                   "127.0.0.1" + port + "another address was faster"});
}

} // namespace dial_test
