// Transport: the concept that a transport satisfies.
#pragma once

#include <sidecar/batch.hpp>
#include <sidecar/close_reason.hpp>
#include <sidecar/connection_info.hpp>
#include <sidecar/context.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/sink.hpp>
#include <sidecar/task.hpp>

#include <concepts>

namespace sidecar {

/// The members that Sidecar<T> needs. The library makes one object per connection, on the loop's
/// thread, and uses it only there. An exception from a call (an Exception or any other) ends the
/// link with that cause. The calls, in order:
///
/// - `T(options)`: keeps the options; opens nothing.
/// - `connect(ctx)`: makes the connection. When the time given to start() is over, the library
///   cancels it and calls abort().
/// - `read(ctx, sink)`: waits for at least one message, puts every message that has already
///   arrived, and returns. It does not wait after a put: the application gets the messages when it
///   returns. When it is called, the sink has space for one message of the size limit. After a
///   refused put it returns; the library calls it again when there is space. One read at a time.
///   During a stop the library continues to read (and discards) until close() has returned.
/// - `write(ctx, batch)`: writes all messages of the batch, in order; returns when the system has
///   taken them. One write at a time, while a read waits.
/// - `close(ctx, reason)`: closes the connection as the protocol provides, and waits for the
///   answer. Called at most once, after connect, while a read waits, and with no write under way,
///   unless the drain ran out of time. After it has begun no further message may go out. The code
///   and reason are valid: the library has checked them.
/// - `abort() noexcept`: shuts everything at once and never waits; after it all calls above must
///   end soon, with any error. May be called in any state, and more than once. A cancelled call
///   must end soon too, as each wait of a Context and of Asio does.
///
/// Optional members:
/// - `T(options, attempt)`: the same constructor, with the Attempt that the transport is made for.
/// - `Task<> ping(Context, std::span<const std::byte> payload)`: sends a ping beside a read and a
///   write, and returns when the system has taken it. The payload has 8 bytes and lives until then.
///   Sink::on_pong() reports the answer. Liveness can then ping the peer.
/// - `ConnectionInfo connection_info()`: returns the facts of the connection, for
///   Link::connection_info(). Called once, after connect(); the library adds the number and the
///   protocol.
/// - `std::string failure_note() const`: returns what the transport knows about a broken
///   connection, such as a fault that it injected; empty: nothing. The library adds it to the
///   explanation of each failure of the network, also of one that it finds itself (no answer in
///   time). Called in any state, also after abort().
/// - `static Liveness default_liveness()`: for the pings that LinkOptions leave empty.
/// - `using Clock = VirtualClock`: runs the sidecar on virtual time, for tests.
/// - `static std::optional<MockClock> mock_clock(const Options&)`: the clock that the run shares with
///   others; only beside that Clock.
/// - `Options::max_message_bytes`, or `static std::size_t max_message_bytes(const Options&)`: the
///   limit of received messages; 1 MiB without it.
/// - `static constexpr bool shares_equal_options = true`: open() with options that equal those of the
///   link before shares one copy of them. Their operator== must compare everything.
/// - `static std::string endpoint(const Options&)`: the peer's name in errors.
/// - `static Result<void> check(const Options&)`: start() and open() call it before they make
///   anything.
/// - `static Result<void> check_send(const Options&, MessageKind, std::span<const std::byte>)`:
///   send() calls it on the application's thread. A transport that carries topics has this form in
///   its place: `static Result<void> check_send(const Options&, const MessageView&)`. The messages
///   of a Batch, and those it puts into the Sink, may then have a topic, reply_to and headers.
/// - `static bool carries_topics(const Options&)`: whether it does, if that depends on the options.
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
