// Mock::Acceptor: a server in memory, for tests of programs that listen.
#pragma once

#include <sidecar/acceptor.hpp>
#include <sidecar/client_overflow.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/transports/mock.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

namespace sidecar {

namespace mock {
struct Backlog;
}

/// The clients of a Server<Mock>, which the test connects. Copies are the same. Side: any thread.
/// Blocks: not at all.
class SIDECAR_API MockClients {
public:
    MockClients();

    /// A client connects, once the server listens. Returns the client's end: deliver() is what it
    /// sends, sent() what it got. `info`: what Event::client and Link::connection_info() show.
    MockPeer connect(ConnectionInfo info = default_info());
    /// The same with a peer that is prepared: its script, hooks and delays apply. A peer that refuses
    /// the connect is a client that was refused.
    void connect(MockPeer client);
    /// Fails bind() with this error, until allow_bind().
    void refuse_bind(error_code error);
    void allow_bind();
    /// Fails accept() once, which ends the listener.
    void fail_accept(error_code error);
    [[nodiscard]] bool is_listening() const;

private:
    friend class Mock;
    [[nodiscard]] static ConnectionInfo default_info() { return {.peer = "mock"}; }

    std::shared_ptr<mock::Backlog> backlog_; // both: guarded by its mutex
};

/// Listens for the clients of MockClients, on virtual time. Its calls are those of Acceptor. Side:
/// the loop's thread.
class SIDECAR_API Mock::Acceptor {
public:
    using Client = Mock;
    using Clock = VirtualClock;

    struct Options {
        MockClients clients{};
        /// The clock that the feed shares with others. Empty: each run has a separate one.
        std::optional<MockClock> clock{};
        Faults faults{}; ///< of each client's connection, as Mock::Options::faults
        Duration handshake_timeout = std::chrono::seconds{5};
        std::size_t max_message_bytes = std::size_t{64} << 10;
        QueueLimits outbox{};
        ClientOverflow overflow{};
    };

    explicit Acceptor(const Options& options);
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;
    ~Acceptor();

    [[nodiscard]] static std::optional<MockClock> mock_clock(const Options& options)
    {
        return options.clock;
    }
    [[nodiscard]] static std::string endpoint(const Options&) { return "mock server"; }
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        return check_faults(options.faults);
    }

    Task<> bind(Context ctx);
    Task<Mock::Options> accept(Context ctx);
    void close() noexcept;
    void abort() noexcept { close(); }
    [[nodiscard]] ConnectionInfo connection_info() { return {.local = "mock:1"}; }

private:
    const Options options_;                                                  // sidecar side
    const std::shared_ptr<LoopEvent> event_ = std::make_shared<LoopEvent>(); // sidecar side
};

static_assert(Acceptor<Mock::Acceptor>);

} // namespace sidecar
