// Acceptor: the concept that the server's end of a transport satisfies.
#pragma once

#include <sidecar/client_overflow.hpp>
#include <sidecar/context.hpp>
#include <sidecar/task.hpp>
#include <sidecar/transport.hpp>

#include <concepts>

namespace sidecar {

/// The members that Server<A> and Feed::listen<A>() need. The library makes one object per
/// listener, on the loop's thread, and uses it only there. The calls, in order:
///
/// - `A(options)`: keeps the options; opens nothing.
/// - `bind(ctx)`: opens the listening socket. When the time given to start() is over, the library
///   cancels it and calls abort(). An Exception says why it cannot listen.
/// - `accept(ctx)`: waits for the next client and returns the options that its transport,
///   `A::Client`, is made from. They may be destroyed later on any thread, also after the loop, so
///   an Asio socket must not be in them. That transport's connect() does the server's part of the opening,
///   beside other clients, within `handshake_timeout`. If connect() fails, the client is counted as
///   refused and makes no event; Error::link_closed says that nothing was wrong (a page was
///   served). An exception of accept() ends the listener, and only the listener.
/// - `close() noexcept`: accepts no more; a waiting accept() ends with any error.
/// - `abort() noexcept`: the same at once, in any state, and more than once.
///
/// Optional members, as of a Transport: `Clock`, `mock_clock`, `endpoint`, `check`; `check_send`,
/// for broadcasts; `connection_info`, called after bind(): Listener::port() reads its `local`.
/// Optional members of Options: `ClientOverflow overflow`; `QueueLimits outbox`, of each client;
/// `Duration handshake_timeout`, 5 s without it; `std::size_t max_message_bytes`, 64 KiB without it.
// clang-format off
template <class A>
concept Acceptor = requires(A& acceptor, const typename A::Options& options, Context ctx) {
    requires Transport<typename A::Client>;
    A(options);
    { acceptor.bind(ctx) } -> std::same_as<Task<void>>;
    { acceptor.accept(ctx) } -> std::same_as<Task<typename A::Client::Options>>;
    { acceptor.close() } noexcept -> std::same_as<void>;
    { acceptor.abort() } noexcept -> std::same_as<void>;
};
// clang-format on

} // namespace sidecar
