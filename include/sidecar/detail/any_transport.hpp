// Type erasure for transports: the interfaces that the compiled library calls, and the templates
// that adapt a user's transport to them.
#pragma once

#include <sidecar/client_overflow.hpp>
#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/liveness.hpp>
#include <sidecar/mock_clock.hpp>
#include <sidecar/options.hpp>
#include <sidecar/reconnect.hpp>
#include <sidecar/transport.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace sidecar {

namespace detail {

/// The options of a type that is no transport. It accepts anything, so that the compiler's first
/// error is about the transport.
struct NoOptions {
    template <class... Anything>
    NoOptions(Anything&&...) noexcept // NOLINT: implicit, from any argument
    {
    }
};
template <class T>
struct OptionsOfTransport {
    using type = NoOptions;
};
template <class T>
    requires requires { typename T::Options; }
struct OptionsOfTransport<T> {
    using type = typename T::Options;
};
template <class T>
using OptionsOf = typename OptionsOfTransport<T>::type;

} // namespace detail

/// Makes a transport's options for one attempt to connect. A coroutine on the loop; it may wait
/// (for a token, say) within the attempt's time. An exception fails the attempt.
template <class T>
using OptionsProvider = std::function<Task<detail::OptionsOf<T>>(Context, const Attempt&)>;

} // namespace sidecar

namespace sidecar::detail {

class LinkConfig;

/// How a listener treats each of its clients.
struct ClientSettings {
    ClientOverflow overflow{};
    QueueLimits outbox{};
    Duration handshake_timeout = std::chrono::seconds{5};

    /// Returns the bounds of each client's outbox; `other` if none are set here.
    [[nodiscard]] QueueLimits outbox_or(const QueueLimits& other) const noexcept
    {
        return outbox.bytes != 0 || outbox.messages != 0 ? outbox : other;
    }
};

/// One connection's transport, or an acceptor. The link that owns it makes, uses and destroys it on the loop's
/// thread.
class SIDECAR_API AnyTransport {
public:
    virtual ~AnyTransport() = default;
    virtual Task<> connect(Context ctx) = 0;
    virtual Task<> read(Context ctx, Sink& sink) = 0;
    virtual Task<> write(Context ctx, Batch batch) = 0;
    virtual Task<> close(Context ctx, CloseReason reason) = 0;
    /// Called only if LinkConfig::can_ping().
    virtual Task<> ping(Context ctx, std::span<const std::byte> payload) = 0;
    virtual void abort() noexcept = 0;
    /// Waits for the next client of an acceptor, and makes the configuration of its link. These two
    /// are called only if LinkConfig::client_settings().
    virtual Task<std::shared_ptr<const LinkConfig>> accept(Context ctx) = 0;
    virtual void stop_accepting() noexcept = 0;
    /// Called once, after connect().
    [[nodiscard]] virtual ConnectionInfo connection_info() = 0;
    [[nodiscard]] virtual std::string failure_note() const = 0;
};

/// A transport's type and options. It makes transports, and answers questions about them before one
/// exists. Immutable, so any thread may call it.
class SIDECAR_API LinkConfig {
public:
    virtual ~LinkConfig() = default;
    /// Whether the application makes new options for each attempt; see options_for().
    [[nodiscard]] virtual bool is_dynamic() const noexcept = 0;
    /// Makes the configuration of this attempt; only if is_dynamic(). Side: sidecar.
    [[nodiscard]] virtual Task<std::shared_ptr<const LinkConfig>> options_for(
        Context ctx, Attempt attempt) const = 0;
    [[nodiscard]] virtual std::unique_ptr<AnyTransport> make_transport(
        const Attempt& attempt) const = 0;
    [[nodiscard]] virtual std::string endpoint() const = 0;
    [[nodiscard]] virtual std::size_t max_message_bytes() const noexcept = 0;
    [[nodiscard]] virtual bool is_virtual() const noexcept = 0;
    /// Returns the clock that the options name; empty: each run has a separate one.
    [[nodiscard]] virtual std::optional<MockClock> mock_clock() const = 0;
    [[nodiscard]] virtual bool can_ping() const noexcept = 0;
    /// Replaces what LinkOptions leave empty.
    [[nodiscard]] virtual Liveness default_liveness() const = 0;
    [[nodiscard]] virtual Result<void> check() const = 0;
    /// Whether messages may have a topic and the rest of an envelope.
    [[nodiscard]] virtual bool carries_topics() const noexcept = 0;
    [[nodiscard]] virtual Result<void> check_send(StoredKind kind,
                                                  std::span<const std::byte> stored) const = 0;
    /// Whether `other` has the same type() and equal options, so that one can replace the other.
    [[nodiscard]] virtual bool is_same(const LinkConfig&) const { return false; }
    /// Returns an address that no other class of configurations has; null: is_same() never holds.
    [[nodiscard]] virtual const void* type() const noexcept { return nullptr; }
    /// Null: it is no acceptor. Lifetime: as this object.
    [[nodiscard]] virtual const ClientSettings* client_settings() const noexcept = 0;
};

/// Requires each member of a transport separately, so that the compiler's first error names the
/// missing one. A concept's error does not.
// clang-format off
template <class T>
struct TransportForm {
    static_assert(requires { typename T::Options; }, "a transport needs: struct Options");
    static_assert(requires(const typename T::Options& options) { T(options); },
                  "a transport needs: a constructor that takes const Options&");
    static_assert(requires(T& t, Context ctx) { { t.connect(ctx) } -> std::same_as<Task<>>; },
                  "a transport needs: sidecar::Task<> connect(sidecar::Context)");
    static_assert(requires(T& t, Context ctx, Sink& sink) { { t.read(ctx, sink) } -> std::same_as<Task<>>; },
                  "a transport needs: sidecar::Task<> read(sidecar::Context, sidecar::Sink&)");
    static_assert(requires(T& t, Context ctx, Batch batch) { { t.write(ctx, batch) } -> std::same_as<Task<>>; },
                  "a transport needs: sidecar::Task<> write(sidecar::Context, sidecar::Batch)");
    static_assert(requires(T& t, Context ctx, CloseReason reason) { { t.close(ctx, reason) } -> std::same_as<Task<>>; },
                  "a transport needs: sidecar::Task<> close(sidecar::Context, sidecar::CloseReason)");
    static_assert(requires(T& t) { { t.abort() } noexcept -> std::same_as<void>; },
                  "a transport needs: void abort() noexcept");
    static constexpr bool is_whole = Transport<T>;
};
// clang-format on
template <class T>
inline constexpr bool is_transport = TransportForm<T>::is_whole;

/// Refuses a message with a topic, for a transport that carries none. Errors: bad_message.
[[nodiscard]] SIDECAR_API Failure no_topics();

/// The optional members of a transport. A member with such a name must have the required form:
/// silently ignoring it would hide the mistake.
template <class T>
struct TransportTraits {
    using Options = typename T::Options;

    // clang-format off
    static constexpr bool has_clock = requires { requires std::same_as<typename T::Clock, VirtualClock>; };
    static_assert(has_clock || !requires { typename T::Clock; },
                  "a transport's Clock must be sidecar::VirtualClock; leave it out for real time");
    static constexpr bool has_mock_clock = requires(const Options& options) {
        { T::mock_clock(options) } -> std::same_as<std::optional<MockClock>>;
    };
    static_assert((has_mock_clock && has_clock) || !requires { &T::mock_clock; },
                  "mock_clock must be: static std::optional<sidecar::MockClock> mock_clock(const Options&), beside using Clock = sidecar::VirtualClock");
    static constexpr bool has_limit = requires(const Options& options) {
        { options.max_message_bytes } -> std::convertible_to<std::size_t>;
    };
    static_assert(has_limit || !requires { &Options::max_message_bytes; },
                  "Options::max_message_bytes must convert to std::size_t");
    static constexpr bool has_limit_function = requires(const Options& options) {
        { T::max_message_bytes(options) } -> std::same_as<std::size_t>;
    };
    static_assert(has_limit_function || !requires { &T::max_message_bytes; },
                  "max_message_bytes must be: static std::size_t max_message_bytes(const Options&)");
    static constexpr bool has_endpoint = requires(const Options& options) {
        { T::endpoint(options) } -> std::convertible_to<std::string>;
    };
    static_assert(has_endpoint || !requires { &T::endpoint; },
                  "endpoint must be: static std::string endpoint(const Options&)");
    static constexpr bool has_check = requires(const Options& options) {
        { T::check(options) } -> std::same_as<Result<void>>;
    };
    static_assert(has_check || !requires { &T::check; },
                  "check must be: static sidecar::Result<void> check(const Options&)");
    static constexpr bool has_check_send = requires(const Options& options, MessageKind kind, std::span<const std::byte> payload) {
        { T::check_send(options, kind, payload) } -> std::same_as<Result<void>>;
    };
    static constexpr bool checks_whole_message = requires(const Options& options, const MessageView& message) {
        { T::check_send(options, message) } -> std::same_as<Result<void>>;
    };
    static_assert(has_check_send || checks_whole_message || !requires { &T::check_send; },
                  "check_send must be: static sidecar::Result<void> check_send(const Options&, sidecar::MessageKind, std::span<const std::byte>), or for a transport that carries topics (const Options&, const sidecar::MessageView&)");
    static constexpr bool may_carry_topics = requires(const Options& options) {
        { T::carries_topics(options) } -> std::same_as<bool>;
    };
    static_assert(may_carry_topics || !requires { &T::carries_topics; },
                  "carries_topics must be: static bool carries_topics(const Options&)");
    static constexpr bool shares_options = requires {
        requires T::shares_equal_options;
        requires std::equality_comparable<Options>;
    };
    static constexpr bool has_default_liveness = requires {
        { T::default_liveness() } -> std::same_as<Liveness>;
    };
    static_assert(has_default_liveness || !requires { &T::default_liveness; },
                  "default_liveness must be: static sidecar::Liveness default_liveness()");
    static constexpr bool has_ping = requires(T& transport, Context ctx, std::span<const std::byte> payload) {
        { transport.ping(ctx, payload) } -> std::same_as<Task<void>>;
    };
    static_assert(has_ping || !requires { &T::ping; },
                  "ping must be: sidecar::Task<> ping(sidecar::Context, std::span<const std::byte>)");
    static constexpr bool has_connection_info = requires(T& transport) {
        { transport.connection_info() } -> std::same_as<ConnectionInfo>;
    };
    static_assert(has_connection_info || !requires { &T::connection_info; },
                  "connection_info must be: sidecar::ConnectionInfo connection_info()");
    static constexpr bool has_failure_note = requires(const T& transport) {
        { transport.failure_note() } -> std::same_as<std::string>;
    };
    static_assert(has_failure_note || !requires { &T::failure_note; },
                  "failure_note must be: std::string failure_note() const");
    static constexpr bool wants_attempt = std::constructible_from<T, const Options&, const Attempt&>;
    // clang-format on

    [[nodiscard]] static T make(const Options& options, [[maybe_unused]] const Attempt& attempt)
    {
        if constexpr (wants_attempt)
            return T(options, attempt);
        else
            return T(options);
    }
    [[nodiscard]] static bool carries_topics([[maybe_unused]] const Options& options) noexcept
    {
        if constexpr (may_carry_topics)
            return T::carries_topics(options);
        else
            return checks_whole_message;
    }
    [[nodiscard]] static Result<void> check_send([[maybe_unused]] const Options& options,
                                                 StoredKind kind, std::span<const std::byte> stored)
    {
        if (kind.has_envelope() && !carries_topics(options))
            return no_topics();
        if constexpr (checks_whole_message)
            return T::check_send(options, MessageView{LinkId{}, kind, stored});
        else if constexpr (has_check_send)
            return T::check_send(options, kind.kind(), stored);
        else
            return {};
    }
    [[nodiscard]] static std::size_t max_message_bytes([[maybe_unused]] const Options& options)
    {
        if constexpr (has_limit_function)
            return T::max_message_bytes(options);
        else if constexpr (has_limit)
            return options.max_message_bytes;
        else
            return std::size_t{1} << 20;
    }
};

template <class T>
[[nodiscard]] Liveness default_liveness_of()
{
    if constexpr (TransportTraits<T>::has_default_liveness)
        return T::default_liveness();
    else if constexpr (TransportTraits<T>::has_ping)
        return {};
    else
        return {.ping_interval = {}, .ping_timeout = {}};
}

/// Adapts a user's transport to AnyTransport.
template <Transport T>
class TransportAdapter final : public AnyTransport {
public:
    TransportAdapter(const typename T::Options& options, const Attempt& attempt)
        : transport_(TransportTraits<T>::make(options, attempt))
    {
    }
    Task<> connect(Context ctx) override { return transport_.connect(ctx); }
    Task<> read(Context ctx, Sink& sink) override { return transport_.read(ctx, sink); }
    Task<> write(Context ctx, Batch batch) override { return transport_.write(ctx, batch); }
    Task<> close(Context ctx, CloseReason reason) override
    {
        return transport_.close(ctx, std::move(reason));
    }
    Task<> ping([[maybe_unused]] Context ctx,
                [[maybe_unused]] std::span<const std::byte> payload) override
    {
        if constexpr (TransportTraits<T>::has_ping)
            return transport_.ping(ctx, payload);
        else
            throw Exception{Failure{Error::misuse, {.attempted = "ping"}}};
    }
    void abort() noexcept override { transport_.abort(); }
    Task<std::shared_ptr<const LinkConfig>> accept(Context) override { co_return nullptr; }
    void stop_accepting() noexcept override {}
    ConnectionInfo connection_info() override
    {
        if constexpr (TransportTraits<T>::has_connection_info)
            return transport_.connection_info();
        else
            return {};
    }
    std::string failure_note() const override
    {
        if constexpr (TransportTraits<T>::has_failure_note)
            return transport_.failure_note();
        else
            return {};
    }

private:
    T transport_; // sidecar side
};

/// Adapts a user's transport type and its options to LinkConfig.
template <Transport T>
class TransportConfig final : public LinkConfig {
public:
    explicit TransportConfig(typename T::Options options, OptionsProvider<T> provider = {})
        : options_{std::move(options)}, provider_{std::move(provider)}
    {
    }
    bool is_dynamic() const noexcept override { return static_cast<bool>(provider_); }
    Task<std::shared_ptr<const LinkConfig>> options_for(Context ctx, Attempt attempt) const override
    {
        auto options = co_await provider_(ctx, attempt);
        co_return std::make_shared<const TransportConfig<T>>(std::move(options));
    }
    std::unique_ptr<AnyTransport> make_transport(const Attempt& attempt) const override
    {
        return std::make_unique<TransportAdapter<T>>(options_, attempt);
    }
    std::string endpoint() const override
    {
        if constexpr (Traits::has_endpoint)
            return T::endpoint(options_);
        else
            return {};
    }
    std::size_t max_message_bytes() const noexcept override
    {
        return Traits::max_message_bytes(options_);
    }
    bool is_virtual() const noexcept override { return Traits::has_clock; }
    std::optional<MockClock> mock_clock() const override
    {
        if constexpr (Traits::has_mock_clock)
            return T::mock_clock(options_);
        else
            return std::nullopt;
    }
    bool can_ping() const noexcept override { return Traits::has_ping; }
    Liveness default_liveness() const override { return default_liveness_of<T>(); }
    Result<void> check() const override
    {
        if constexpr (Traits::has_check)
            return T::check(options_);
        else
            return {};
    }
    bool carries_topics() const noexcept override { return Traits::carries_topics(options_); }
    Result<void> check_send(StoredKind kind, std::span<const std::byte> stored) const override
    {
        return Traits::check_send(options_, kind, stored);
    }
    bool is_same(const LinkConfig& other) const override
    {
        if constexpr (Traits::shares_options) {
            if (other.type() != type())
                return false;
            const auto& same = static_cast<const TransportConfig&>(other);
            return !provider_ && !same.provider_ && options_ == same.options_;
        } else {
            return false;
        }
    }
    const void* type() const noexcept override
    {
        static constexpr char address = 0;
        return &address;
    }
    const ClientSettings* client_settings() const noexcept override { return nullptr; }

private:
    using Traits = TransportTraits<T>;

    const typename T::Options options_; // both: constant
    const OptionsProvider<T> provider_; // sidecar side
};

} // namespace sidecar::detail
