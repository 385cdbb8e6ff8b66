// Type erasure for acceptors: adapts them to the interfaces of a transport, since a listener is a
// link.
#pragma once

#include <sidecar/acceptor.hpp>
#include <sidecar/detail/any_transport.hpp>
#include <sidecar/options.hpp>

#include <chrono>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace sidecar::detail {

template <class T>
struct AcceptorOfTransport {
    using type = T;
};
template <class T>
    requires requires { typename T::Acceptor; }
struct AcceptorOfTransport<T> {
    using type = typename T::Acceptor;
};
/// The acceptor of a transport, such as WebSocket, or the acceptor itself.
template <class T>
using AcceptorOf = typename AcceptorOfTransport<T>::type;

/// Requires each member separately, as TransportForm does.
// clang-format off
template <class A>
struct AcceptorForm {
    static_assert(requires { sizeof(A); },
                  "include the transport's server header, such as sidecar/transports/websocket_server.hpp");
    static_assert(requires { typename A::Options; }, "an acceptor needs: struct Options");
    static_assert(requires { typename A::Client; }, "an acceptor needs: a transport named Client");
    static_assert(TransportForm<typename A::Client>::is_whole);
    static_assert(requires(const typename A::Options& options) { A(options); },
                  "an acceptor needs: a constructor that takes const Options&");
    static_assert(requires(A& a, Context ctx) { { a.bind(ctx) } -> std::same_as<Task<>>; },
                  "an acceptor needs: sidecar::Task<> bind(sidecar::Context)");
    static_assert(requires(A& a, Context ctx) { { a.accept(ctx) } -> std::same_as<Task<typename A::Client::Options>>; },
                  "an acceptor needs: sidecar::Task<Client::Options> accept(sidecar::Context)");
    static_assert(requires(A& a) { { a.close() } noexcept -> std::same_as<void>; },
                  "an acceptor needs: void close() noexcept");
    static_assert(requires(A& a) { { a.abort() } noexcept -> std::same_as<void>; },
                  "an acceptor needs: void abort() noexcept");
    static constexpr bool is_whole = Acceptor<A>;
};
// clang-format on
template <class A>
inline constexpr bool is_acceptor = AcceptorForm<A>::is_whole;

/// The optional members of an acceptor and of its options.
template <class A>
struct AcceptorTraits {
    using Options = typename A::Options;

    // clang-format off
    static constexpr bool has_overflow = requires(const Options& options) {
        { options.overflow } -> std::convertible_to<ClientOverflow>;
    };
    static_assert(has_overflow || !requires { &Options::overflow; },
                  "Options::overflow of an acceptor must be a sidecar::ClientOverflow");
    static constexpr bool has_outbox = requires(const Options& options) {
        { options.outbox } -> std::convertible_to<QueueLimits>;
    };
    static_assert(has_outbox || !requires { &Options::outbox; },
                  "Options::outbox of an acceptor must be a sidecar::QueueLimits");
    static constexpr bool has_timeout = requires(const Options& options) {
        { options.handshake_timeout } -> std::convertible_to<Duration>;
    };
    static_assert(has_timeout || !requires { &Options::handshake_timeout; },
                  "Options::handshake_timeout of an acceptor must convert to sidecar::Duration");
    // clang-format on

    [[nodiscard]] static ClientSettings client_settings(const Options& options)
    {
        ClientSettings settings;
        if constexpr (has_overflow)
            settings.overflow = options.overflow;
        if constexpr (has_outbox)
            settings.outbox = options.outbox;
        if constexpr (has_timeout)
            settings.handshake_timeout = options.handshake_timeout;
        return settings;
    }
};

/// Adapts an acceptor to AnyTransport. Side: sidecar.
template <Acceptor A>
class AcceptorAdapter final : public AnyTransport {
public:
    explicit AcceptorAdapter(const typename A::Options& options) : acceptor_(options) {}
    Task<> connect(Context ctx) override { return acceptor_.bind(ctx); }
    Task<std::shared_ptr<const LinkConfig>> accept(Context ctx) override
    {
        auto options = co_await acceptor_.accept(ctx);
        co_return std::make_shared<const TransportConfig<typename A::Client>>(std::move(options));
    }
    Task<> read(Context, Sink&) override { throw misuse("read"); }
    Task<> write(Context, Batch) override { throw misuse("write"); }
    Task<> ping(Context, std::span<const std::byte>) override { throw misuse("ping"); }
    Task<> close(Context, CloseReason) override
    {
        acceptor_.close();
        co_return;
    }
    void stop_accepting() noexcept override { acceptor_.close(); }
    void abort() noexcept override { acceptor_.abort(); }
    ConnectionInfo connection_info() override
    {
        if constexpr (requires {
                          {
                              acceptor_.connection_info()
                          } -> std::same_as<ConnectionInfo>;
                      })
            return acceptor_.connection_info();
        else
            return {};
    }
    std::string failure_note() const override { return {}; }

private:
    static Exception misuse(const char* attempted)
    {
        return Exception{Failure{Error::misuse, {.attempted = attempted}}};
    }

    A acceptor_; // sidecar side
};

/// Adapts an acceptor's type and its options to LinkConfig.
template <Acceptor A>
class AcceptorConfig final : public LinkConfig {
public:
    explicit AcceptorConfig(typename A::Options options)
        : options_{std::move(options)}, settings_{AcceptorTraits<A>::client_settings(options_)}
    {
    }
    bool is_dynamic() const noexcept override { return false; }
    Task<std::shared_ptr<const LinkConfig>> options_for(Context, Attempt) const override
    {
        co_return nullptr;
    }
    std::unique_ptr<AnyTransport> make_transport(const Attempt&) const override
    {
        return std::make_unique<AcceptorAdapter<A>>(options_);
    }
    std::string endpoint() const override
    {
        if constexpr (Traits::has_endpoint)
            return A::endpoint(options_);
        else
            return {};
    }
    std::size_t max_message_bytes() const noexcept override
    {
        if constexpr (Traits::has_limit || Traits::has_limit_function)
            return Traits::max_message_bytes(options_);
        else
            return std::size_t{64} << 10;
    }
    bool is_virtual() const noexcept override { return Traits::has_clock; }
    std::optional<MockClock> mock_clock() const override
    {
        if constexpr (Traits::has_mock_clock)
            return A::mock_clock(options_);
        else
            return std::nullopt;
    }
    // Those of the clients: the listener's link has no pings and no messages.
    bool can_ping() const noexcept override { return ClientTraits::has_ping; }
    Liveness default_liveness() const override { return default_liveness_of<typename A::Client>(); }
    Result<void> check() const override
    {
        if constexpr (Traits::has_check)
            return A::check(options_);
        else
            return {};
    }
    bool carries_topics() const noexcept override { return Traits::carries_topics(options_); }
    Result<void> check_send(StoredKind kind, std::span<const std::byte> stored) const override
    {
        return Traits::check_send(options_, kind, stored);
    }
    const ClientSettings* client_settings() const noexcept override { return &settings_; }

private:
    using Traits = TransportTraits<A>;
    using ClientTraits = TransportTraits<typename A::Client>;

    const typename A::Options options_; // both: constant
    const ClientSettings settings_;     // both: constant
};

} // namespace sidecar::detail
