// What the templates add to the compiled core: a transport behind the core's interface, and a
// call's result.
#pragma once

#include <sidecar/detail/core.hpp>

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

namespace sidecar::detail {

template <class T>
inline constexpr bool is_virtual = false;
template <class T>
    requires requires { typename T::Clock; }
inline constexpr bool is_virtual<T> = std::same_as<typename T::Clock, VirtualClock>;

template <Transport T>
class TransportAdapter final : public AnyTransport {
public:
    explicit TransportAdapter(const typename T::Options& options) : transport_(options) {}
    Task<> connect(Context ctx) override { return transport_.connect(ctx); }
    Task<> read(Context ctx, Sink& sink) override { return transport_.read(ctx, sink); }
    Task<> write(Context ctx, Batch batch) override { return transport_.write(ctx, batch); }
    Task<> close(Context ctx, CloseReason reason) override { return transport_.close(ctx, reason); }
    void abort() noexcept override { transport_.abort(); }

private:
    T transport_; // sidecar side
};

template <Transport T>
class TransportConfig final : public LinkConfig {
public:
    explicit TransportConfig(typename T::Options options) : options_{std::move(options)} {}
    std::unique_ptr<AnyTransport> make_transport() const override
    {
        return std::make_unique<TransportAdapter<T>>(options_);
    }
    std::string endpoint() const override
    {
        if constexpr (requires {
                          {
                              T::endpoint(options_)
                          } -> std::convertible_to<std::string>;
                      })
            return T::endpoint(options_);
        else
            return {};
    }
    std::size_t max_message_bytes() const noexcept override
    {
        if constexpr (requires {
                          {
                              options_.max_message_bytes
                          } -> std::convertible_to<std::size_t>;
                      })
            return options_.max_message_bytes;
        else
            return std::size_t{1} << 20;
    }
    Result<void> check() const override
    {
        if constexpr (requires {
                          {
                              T::check(options_)
                          } -> std::same_as<Result<void>>;
                      })
            return T::check(options_);
        else
            return {};
    }
    Result<void> check_send(MessageKind kind, std::span<const std::byte> payload) const
    {
        if constexpr (requires {
                          {
                              T::check_send(options_, kind, payload)
                          } -> std::same_as<Result<void>>;
                      })
            return T::check_send(options_, kind, payload);
        else
            return {};
    }

private:
    const typename T::Options options_; // both: constant
};

template <class Value>
struct ValueState : CallState {
    std::optional<Value> value; // both: written before done
};
template <>
struct ValueState<void> : CallState {};

template <class Value>
Task<> keep_result(std::shared_ptr<ValueState<Value>> state, Task<Value> task)
{
    if constexpr (std::is_void_v<Value>)
        co_await std::move(task);
    else
        state->value.emplace(co_await std::move(task));
}

} // namespace sidecar::detail
