#include "dial.hpp"

#include "dial_plan.hpp"
#include "plain.hpp"

#include <sidecar/loop_event.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <deque>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;
using asio::ip::tcp;

/// The sockets that are connecting. Held by the dialling coroutine and by each pending connect,
/// whose end may come after the coroutine's.
class Dialer::Attempts : public std::enable_shared_from_this<Dialer::Attempts> {
public:
    struct Attempt {
        explicit Attempt(asio::any_io_executor executor) : socket{std::move(executor)} {}
        tcp::socket socket;
        error_code ec;
        TimePoint began{};
        bool has_ended = false;
        bool is_judged = false;
    };

    void begin(Context ctx, const Endpoint& endpoint)
    {
        auto& attempt = all.emplace_back(ctx.executor());
        attempt.began = ctx.now();
        attempt.socket.open(endpoint.protocol(), attempt.ec);
        if (attempt.ec) {
            attempt.has_ended = true;
            progress.set();
            return;
        }
        attempt.socket.async_connect(endpoint, [self = shared_from_this(), &attempt](auto ec) {
            attempt.ec = ec;
            attempt.has_ended = true;
            self->progress.set();
        });
    }
    void close() noexcept
    {
        error_code ec;
        for (auto& attempt : all)
            attempt.socket.close(ec);
        progress.set();
    }

    std::deque<Attempt> all; // sidecar side; in the plan's order
    LoopEvent progress;      // sidecar side
};

namespace {

constexpr auto met_itself = "nobody listens there, and the connection met itself";

std::shared_ptr<Stream> make_stream(tcp::socket socket, const DialOptions& options)
{
    error_code ec; // a peer that is gone already is told by the first read
    socket.set_option(tcp::no_delay{options.no_delay}, ec);
    socket.set_option(asio::socket_base::keep_alive{options.keep_alive}, ec);
    return std::make_shared<Plain>(std::move(socket));
}

} // namespace

bool is_connected_to_itself(const tcp::socket& socket)
{
    error_code ec;
    const auto local = socket.local_endpoint(ec);
    return !ec && local == socket.remote_endpoint(ec) && !ec;
}

Task<std::shared_ptr<Stream>> Dialer::connect(Context ctx, std::string host, std::uint16_t port,
                                              DialOptions options, std::string endpoint)
{
    const auto addresses = co_await ctx.resolve(std::move(host));
    DialPlan plan{alternate_families(addresses, port), ctx.now()};
    const auto attempts = std::make_shared<Attempts>();
    attempts_ = attempts;
    struct CloseLosers {
        Attempts& attempts;
        ~CloseLosers() { attempts.close(); }
    } close_losers{*attempts};
    for (;;) {
        if (is_aborted_)
            throw boost::system::system_error{asio::error::operation_aborted};
        for (std::size_t i = 0; i < attempts->all.size(); ++i) {
            auto& attempt = attempts->all[i];
            if (!attempt.has_ended || std::exchange(attempt.is_judged, true))
                continue;
            const auto address = to_text(plan.endpoint(i));
            const auto took = ctx.now() - attempt.began;
            if (attempt.ec) {
                plan.failed(i, attempt.ec, ctx.now());
                ctx.tried(address, attempt.ec.message(), took);
            } else if (is_connected_to_itself(attempt.socket)) {
                plan.failed(i, asio::error::connection_refused, ctx.now(), met_itself);
                ctx.tried(address, met_itself, took);
            } else {
                ctx.tried(address, {}, took);
                for (std::size_t j = 0; j < attempts->all.size(); ++j)
                    if (const auto& loser = attempts->all[j]; !loser.is_judged)
                        ctx.tried(to_text(plan.endpoint(j)), "another address was faster",
                                  ctx.now() - loser.began);
                attempts_.reset();
                co_return make_stream(std::move(attempt.socket), options);
            }
        }
        if (plan.is_over())
            throw Exception{plan.failure(std::move(endpoint))};
        while (const auto due = plan.next(ctx.now()))
            attempts->begin(ctx, plan.endpoint(*due));
        ctx.phase(Phase::connecting, plan.describe());
        (void)co_await ctx.wait(attempts->progress, plan.next_at());
    }
}

void Dialer::abort() noexcept
{
    is_aborted_ = true;
    if (attempts_)
        attempts_->close();
}

} // namespace sidecar::stream
