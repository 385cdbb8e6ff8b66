// What a transport is: the concept.
#pragma once

#include <sidecar/batch.hpp>
#include <sidecar/context.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/sink.hpp>
#include <sidecar/task.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>

namespace sidecar {

/// Why a transport is asked to close.
struct CloseReason {
    std::uint16_t code = 1000; ///< RFC 6455 section 7.4.1; transports without codes ignore it
    std::string_view reason;   ///< Lifetime: static
};

/// What Sidecar<T> needs of T. One object is made per connection, on the loop's thread, and used
/// there only. The calls, in order; each may throw Exception (or any exception), which ends the
/// link with that cause:
///
/// - `T(options)`: keeps the options; opens nothing.
/// - `connect(ctx)`: makes the connection. Cancelled, and abort() called, when the time given to
///   start() is over.
/// - `read(ctx, sink)`: waits for at least one message, then puts every message that has already
///   arrived. There is room for one message of the size limit when it is called; after a refused
///   put it returns and is called again when there is room. One read at a time. During a stop the
///   library goes on reading (and discards) until close() has returned.
/// - `write(ctx, batch)`: writes all messages of the batch, in order; returns when the system has
///   taken them. One write at a time, while a read waits.
/// - `close(ctx, reason)`: says goodbye in the protocol's way and waits for the answer; called at
///   most once, after connect, while a read waits, and, unless the drain ran out of time, with no
///   write under way. After it has begun no further message may go out.
/// - `abort() noexcept`: shuts everything at once and never waits; after it all calls above must
///   end soon, with whatever error. May be called in any state, and more than once.
///
/// Optional members: `Task<> ping(Context, std::span<const std::byte> payload)`, which asks the peer
/// for a sign of life, beside a read and a write, and returns when the system has taken the question
/// (the payload has 8 bytes and lives until then; Sink::note_pong() tells the answer); with it the
/// link's Liveness can ask; `static Liveness default_liveness()`, what a link without one of its own
/// gets, if not the usual one. `using Clock = VirtualClock`; `Options::max_message_bytes` (default 1 MiB);
/// `static std::string endpoint(const Options&)`, what errors call the other side; `static
/// Result<void> check(const Options&)`, run by start() and open() before anything is made; `static
/// Result<void> check_send(const Options&, MessageKind, std::span<const std::byte>)`, run by send()
/// on the application's thread.
// clang-format off
template <class T>
concept Transport = requires(T& transport, const typename T::Options& options, Context ctx,
                             Sink& sink, Batch batch, CloseReason reason) {
    T(options);
    { transport.connect(ctx) } -> std::same_as<Task<void>>;
    { transport.read(ctx, sink) } -> std::same_as<Task<void>>;
    { transport.write(ctx, batch) } -> std::same_as<Task<void>>;
    { transport.close(ctx, reason) } -> std::same_as<Task<void>>;
    { transport.abort() } noexcept -> std::same_as<void>;
};
// clang-format on

} // namespace sidecar
