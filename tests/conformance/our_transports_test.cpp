// The library's own transports keep the rules of the concept.
#include <sidecar/check_transport.hpp>
#include <sidecar/peers/mock.hpp>
#include <sidecar/peers/tcp.hpp>
#include <sidecar/peers/websocket.hpp>
#include <sidecar/transports/nats.hpp>

#include <doctest/doctest.h>

#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>

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

/// A server's end of NATS, for a client that publishes to one subject.
class NatsProtocol final : public ServerProtocol {
public:
    std::string greeting() override
    {
        return "INFO {\"headers\":true,\"max_payload\":100000000}\r\n";
    }
    std::string encode(MessageKind, std::string_view payload) override
    {
        return "MSG to.us 1 " + std::to_string(payload.size()) + "\r\n" + std::string{payload}
               + "\r\n";
    }
    bool has_handshake() const override { return true; }
    bool is_open() const override { return is_open_; }
    std::size_t decode(std::string_view bytes, Arrived& arrived) override
    {
        std::size_t at = 0;
        for (auto end = bytes.find("\r\n"); end != bytes.npos; end = bytes.find("\r\n", at)) {
            const auto line = bytes.substr(at, end - at);
            const auto next = end + 2;
            if (line == "PING") {
                arrived.answer += "PONG\r\n";
                is_open_ = true;
            } else if (line.starts_with("PUB ")) {
                std::size_t size = 0;
                const auto digits = line.substr(line.rfind(' ') + 1);
                std::from_chars(digits.data(), digits.data() + digits.size(), size);
                if (bytes.size() < next + size + 2)
                    break;
                arrived.messages.push_back({.payload = std::string{bytes.substr(next, size)}});
                at = next + size + 2;
                continue;
            }
            at = next;
        }
        return at;
    }

private:
    bool is_open_ = false; // both: guarded by the peer's mutex
};

class NatsPeer : public ServerPeer {
public:
    NatsPeer() : ServerPeer{std::make_unique<NatsProtocol>(), small_buffered_bytes} {}
    [[nodiscard]] bool carries(MessageKind kind, std::string_view) const override
    {
        return kind == MessageKind::binary;
    }
    /// A server answers the last PING, as any other.
    bool hold_close() override { return false; }
    [[nodiscard]] Nats::Options options() const
    {
        return {.url = "nats://127.0.0.1:" + std::to_string(port()),
                .subject = "to.you",
                .max_message_bytes = 100'000,
                .socket = {.send_buffer_bytes = send_buffer_bytes}};
    }
    [[nodiscard]] std::vector<Nats::Options> bad_options() const
    {
        auto no_url = options(), bad_subject = options();
        no_url.url.clear();
        bad_subject.subject = "a..b";
        return {no_url, bad_subject};
    }
};

} // namespace

TEST_CASE("conformance: Nats keeps the rules")
{
    check_passed(check_transport<Nats>([] { return std::make_unique<NatsPeer>(); }));
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
