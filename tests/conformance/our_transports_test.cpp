// The library's own transports keep the rules of the concept.
#include <sidecar/check_transport.hpp>
#include <sidecar/peers/mock.hpp>
#include <sidecar/peers/tcp.hpp>
#include <sidecar/peers/websocket.hpp>

#include <doctest/doctest.h>

#include <stdexcept>

using namespace sidecar;

namespace {

void check_passed(const TransportReport& report) { CHECK_MESSAGE(report.passed(), report.text()); }

} // namespace

TEST_CASE("conformance: the Mock keeps the rules")
{
    check_passed(check_transport<Mock>([] { return std::make_unique<CheckedMockPeer>(); }));
}

template <class F>
void check_tcp(const char* framing, F like = {}, const TransportCheck& options = {})
{
    INFO(std::string{framing});
    check_passed(
        check_transport<Tcp<F>>([=] { return std::make_unique<TcpPeer<F>>(like); }, options));
}

TEST_CASE("conformance: Tcp keeps the rules, with each framing")
{
    check_tcp<LengthPrefix>("a length prefix");
    check_tcp<LengthPrefix>("a short length prefix", {.width = 1}, {.random_trials = 3});
    check_tcp<Lines>("lines");
    check_tcp<Raw>("raw");
    check_tcp<FixedSize<64>>("a fixed size", {}, {.random_trials = 3});
}

TEST_CASE("conformance: WebSocket keeps the rules")
{
    check_passed(check_transport<WebSocket>([] { return std::make_unique<WebSocketPeer>(); }));
}

namespace {

/// The transport of docs/custom_transports.md.
class Ticker {
public:
    struct Options {
        std::chrono::milliseconds period{1000};
    };
    explicit Ticker(const Options& options) : options_{options} {}

    Task<> connect(Context) { co_return; }
    Task<> read(Context ctx, Sink& sink)
    {
        co_await ctx.sleep_for(options_.period);
        (void)sink.put_text(std::to_string(++count_));
    }
    Task<> write(Context, Batch) { co_return; }
    Task<> close(Context, CloseReason) { co_return; }
    void abort() noexcept {}

private:
    Options options_;
    int count_ = 0;
};

class TickerPeer : public TransportPeer {
public:
    [[nodiscard]] Ticker::Options options() const { return {}; }
};

} // namespace

TEST_CASE("conformance: the ticker keeps the rules; what its peer cannot do is reported as skipped")
{
    const auto report = check_transport<Ticker>([] { return std::make_unique<TickerPeer>(); },
                                                {.is_virtual = true});
    check_passed(report);
    for (const int rule : {2, 3, 4, 6, 8, 10, 12, 13, 15})
        CHECK_MESSAGE(report.has_skipped(rule), report.text());
    for (const int rule : {1, 5, 14, 16, 17, 19, 20})
        CHECK_MESSAGE(report.trials_of(rule) != 0, rule);
}

TEST_CASE("conformance: a peer that throws is reported as rule 0")
{
    struct Throwing : TickerPeer {
        std::optional<std::size_t> hold() override { throw std::runtime_error{"no more"}; }
    };
    const auto report =
        check_transport<Ticker>([] { return std::make_unique<Throwing>(); }, {.is_virtual = true});
    CHECK(report.has_broken(0));
    CHECK_MESSAGE(report.text().find("no more") != std::string::npos, report.text());
}
