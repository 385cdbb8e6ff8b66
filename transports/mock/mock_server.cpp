// The acceptor of a Mock server: hands out the clients that the test connects.
#include <sidecar/transports/mock_server.hpp>

#include "state.hpp"

#include <boost/asio/error.hpp>

#include <deque>
#include <mutex>
#include <utility>

namespace sidecar {

namespace asio = boost::asio;

namespace mock {

/// Side: any thread, guarded by its mutex. A change wakes accept(), which looks again.
struct Backlog {
    mutable std::mutex mutex; // guards all below
    std::deque<MockPeer> clients;
    std::optional<error_code> bind_error, accept_error;
    std::shared_ptr<LoopEvent> changed; // null: nobody listens
    asio::any_io_executor executor;

    template <class Change>
    void apply(Change change)
    {
        std::lock_guard lock{mutex};
        change(*this);
        if (changed)
            asio::post(executor, [event = changed] { event->set(); });
    }
};

} // namespace mock

using mock::Backlog;

MockClients::MockClients() : backlog_{std::make_shared<Backlog>()} {}

MockPeer MockClients::connect(ConnectionInfo info)
{
    MockPeer client;
    client.set_connection_info(std::move(info));
    connect(client);
    return client;
}

void MockClients::connect(MockPeer client)
{
    backlog_->apply([&](Backlog& backlog) { backlog.clients.push_back(std::move(client)); });
}

void MockClients::refuse_bind(error_code error)
{
    backlog_->apply([&](Backlog& backlog) { backlog.bind_error = error; });
}

void MockClients::allow_bind()
{
    backlog_->apply([](Backlog& backlog) { backlog.bind_error.reset(); });
}

void MockClients::fail_accept(error_code error)
{
    backlog_->apply([&](Backlog& backlog) { backlog.accept_error = error; });
}

bool MockClients::is_listening() const
{
    std::lock_guard lock{backlog_->mutex};
    return backlog_->changed != nullptr;
}

Mock::Acceptor::Acceptor(const Options& options) : options_{options} {}

Mock::Acceptor::~Acceptor() { close(); }

Task<> Mock::Acceptor::bind(Context ctx)
{
    auto& backlog = *options_.clients.backlog_;
    std::lock_guard lock{backlog.mutex};
    if (backlog.bind_error || backlog.changed)
        throw Exception{
            Failure{Error::connect_failed,
                    {.attempted = "listen",
                     .endpoint = "mock server",
                     .cause = backlog.bind_error.value_or(asio::error::address_in_use)}}};
    backlog.changed = event_;
    backlog.executor = ctx.executor();
    co_return;
}

Task<Mock::Options> Mock::Acceptor::accept(Context ctx)
{
    auto& backlog = *options_.clients.backlog_;
    for (;;) {
        {
            std::lock_guard lock{backlog.mutex};
            if (backlog.changed != event_)
                throw boost::system::system_error{asio::error::operation_aborted};
            if (const auto error = std::exchange(backlog.accept_error, std::nullopt))
                throw Exception{mock::failure("accept", *error)};
            if (!backlog.clients.empty()) {
                Mock::Options client{.peer = std::move(backlog.clients.front()),
                                     .max_message_bytes = options_.max_message_bytes,
                                     .clock = options_.clock,
                                     .faults = options_.faults};
                backlog.clients.pop_front();
                co_return client;
            }
        }
        (void)co_await ctx.wait(*event_, TimePoint::max());
    }
}

void Mock::Acceptor::close() noexcept
{
    auto& backlog = *options_.clients.backlog_;
    std::lock_guard lock{backlog.mutex};
    if (backlog.changed != event_)
        return;
    backlog.changed.reset();
    event_->set();
}

} // namespace sidecar
