// Feed: what an application calls, whatever the transport.
#pragma once

#include <sidecar/detail/any_transport.hpp>
#include <sidecar/detail/call.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/detail/message_handler.hpp>
#include <sidecar/error.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/format.hpp>
#include <sidecar/link.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>
#include <sidecar/send_options.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>
#include <sidecar/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace sidecar {

namespace detail {
class RunRegistry;
}

/// A network feed for a synchronous program: all that an application calls. Sidecar<Transport> is
/// the one that is made; an application is written against `Feed&`, so that its test can hand in a
/// Sidecar<Mock>.
///
/// Side: app; every call may be made from any thread unless it says otherwise. A call that would
/// wait, made on the loop's own thread (in a coroutine, in a hook), gives Error::misuse; after a
/// fork, in the child, Error::forked. A negative timeout counts as zero; Duration::max() means no
/// deadline. A call throws std::bad_alloc where there is no memory; poll() and call() pass on what the
/// application's own function throws.
class SIDECAR_API Feed {
public:
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;
    /// Stops as stop() does. On the loop's own thread, where waiting is impossible, it lets the
    /// thread finish alone.
    virtual ~Feed() { end(); } // inline: so it needs no type information of the library's

    /// Starts the thread and connects. On failure everything is as before, and start may be called
    /// again. After stop() a new run begins: what the last one left unread is gone. Blocks: until
    /// connected or refused, at most `timeout`; then, on failure, for the stop. Errors:
    /// already_started, bad_options, bad_address, timed_out, stopping, no_resources, the
    /// transport's own. Cancellation: request_stop() ends it at once, also one that is made before the
    /// thread is there.
    [[nodiscard]] Result<void> start(Duration timeout);

    /// Adds a further link on the same thread, into the same inbox; its transport may be another one
    /// (`feed.open<Tcp<Lines>>({.host = ...}, 5s)`), on the same kind of clock.
    /// `fresh`: makes the options of each attempt to connect anew, the first one too (a token that
    /// expires, a list of hosts); `options` then stand for what is asked before. What it throws is
    /// the failure of the attempt. Blocks and errors: as start(), but a failure leaves the other
    /// links as they are; bad_options for a transport on another kind of clock. A link that is not up
    /// in time is closed.
    template <class T>
    [[nodiscard]] Result<Link> open(detail::OptionsOf<T> options, Duration timeout,
                                    LinkOptions settings = {}, FreshOptions<T> fresh = {})
    {
        static_assert(detail::is_transport<T>);
        return open_link(std::make_shared<const detail::TransportConfig<T>>(std::move(options),
                                                                            std::move(fresh)),
                         std::move(settings), timeout);
    }
    /// The link that start() connected. Errors: not_started.
    [[nodiscard]] Result<Link> link();

    /// Queues a text message for the first link. Blocks: not at all (timeout zero), else until
    /// there is room, at most `timeout`. Errors: full (timeout zero) or timed_out; not_connected,
    /// stopping, too_big, bad_message. On error nothing was queued. Lifetime: the payload is
    /// copied.
    [[nodiscard]] Result<void> send(std::string_view text, Duration timeout = {})
    {
        return send_message(MessageKind::text, std::as_bytes(std::span{text}),
                            {.timeout = timeout});
    }
    /// The same for a binary message.
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, Duration timeout = {})
    {
        return send_message(MessageKind::bytes, bytes, {.timeout = timeout});
    }
    /// The same, with what one send can be told besides. Errors: also wrong_connection.
    [[nodiscard]] Result<void> send(std::string_view text, const SendOptions& options)
    {
        return send_message(MessageKind::text, std::as_bytes(std::span{text}), options);
    }
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, const SendOptions& options)
    {
        return send_message(MessageKind::bytes, bytes, options);
    }
    /// Waits until all that was queued on the first link before this call has been handed to the
    /// system; sticky messages that were never written yet included. Blocks: at most `timeout`.
    /// Errors: timed_out, stopping; not_connected, at once, where something of it is lost with its
    /// connection; wrong_connection, where something was bound to one that is gone; expired, once the
    /// rest is written, where something was too late, during the call or since one last said so;
    /// stopped after a stop.
    [[nodiscard]] Result<void> flush(Duration timeout);

    /// Waits for the next message, of any link. Blocks: at most `timeout`; zero polls. Errors:
    /// timed_out; a link's failure, once, after what it brought before (and again when no link is
    /// left that is up or tries to be); gap, once, where messages are missing; stopped when a stop
    /// has begun and the queue is empty. Cancellation: request_stop() wakes it.
    [[nodiscard]] Result<Message> receive(Duration timeout);

    /// Waits for the next entry of the whole ordered stream: up, message, gap, down and what else
    /// Event names, and at the end stopped, once. Blocks: at most `timeout`. Errors: timed_out; the
    /// last link's failure when none is left; stopped, after the event of that name. Use either this
    /// or receive() and poll(), which pass over what they do not give.
    [[nodiscard]] Result<Event> next_event(Duration timeout);

    /// Hands the messages that are there, at most `limit`, to `handler(const MessageView&)`; copies
    /// nothing. Blocks: not at all. Gives: how many. Errors: as receive(), but for timed_out.
    /// Lifetime: a view is valid during its handler call. What the handler throws passes through;
    /// that message counts as taken. The handler must not receive from the same sidecar (misuse).
    template <class Handler>
    [[nodiscard]] Result<std::size_t> poll(Handler&& handler, std::size_t limit = SIZE_MAX)
    {
        static_assert(detail::is_message_handler<Handler>);
        return poll_messages(detail::MessageHandler{handler}, limit);
    }

    /// Runs `function(Context)`, a coroutine function giving Task<>, on the loop; what it throws
    /// goes to the log, to errors() and to the stop report. Blocks: not at all. Errors:
    /// not_started, stopping. Cancellation: the stop cancels it. Lifetime: `function` is kept until
    /// its coroutine has ended.
    template <class F>
    Result<void> spawn(std::string name, F function)
    {
        static_assert(std::is_invocable_r_v<Task<>, F&, Context>,
                      "spawn() takes a coroutine function: sidecar::Task<> f(sidecar::Context)");
        auto shared = std::make_shared<F>(std::move(function));
        return spawn_task(std::move(name), [shared](Context ctx) { return (*shared)(ctx); });
    }

    /// Runs `function(Context)`, a coroutine function giving Task<R>, on the loop and waits for its
    /// result. What it throws is thrown here. Blocks: until it ends, at most `timeout`; the
    /// coroutine then runs on. Errors: timed_out, stopping, not_started, misuse. Lifetime: as
    /// spawn(); it may outlive this call.
    template <class F>
    [[nodiscard]] auto call(std::string name, F function, Duration timeout = Duration::max())
    {
        static_assert(detail::gives_task<F>,
                      "call() takes a coroutine function: sidecar::Task<R> f(sidecar::Context)");
        using Value = typename std::invoke_result_t<F&, Context>::value_type;
        auto state = std::make_shared<detail::ValueState<Value>>();
        auto shared = std::make_shared<F>(std::move(function));
        auto done = call_task(
            std::move(name),
            [shared, state](Context ctx) { return detail::keep_result(state, (*shared)(ctx)); },
            state, timeout);
        if (!done)
            return Result<Value>{done.error()};
        // The loop may be the last to let go of the state
        if (auto exception = std::exchange(state->exception, nullptr))
            std::rethrow_exception(std::move(exception));
        if constexpr (std::is_void_v<Value>)
            return Result<void>{};
        else
            return Result<Value>{boost::system::in_place_value, std::move(*state->value)};
    }

    /// Begins the stop and returns at once. Side: any thread, the loop's own too, and a signal
    /// handler (it is async-signal-safe). Without effect when nothing runs.
    void request_stop() noexcept;

    /// Waits until a requested stop is over. Blocks: at most `timeout`, and never past the stop's
    /// own total. Any number of threads may wait; all get the same report. Errors: timed_out,
    /// not_started, misuse.
    [[nodiscard]] Result<StopReport> wait_stopped(Duration timeout);

    /// request_stop() and wait_stopped() of one run, whatever other threads start. Blocks: at most Options::stop.total. On the loop's own
    /// thread it only requests, and the report says so. Stopping what has stopped gives the same
    /// report again.
    StopReport stop();

    [[nodiscard]] State state() const;
    /// Counters of the current or last run.
    [[nodiscard]] Stats stats() const;
    /// The latest failures of the run, oldest first, at most 16; Stats::errors counts all.
    [[nodiscard]] std::vector<Failure> errors() const;
    /// Each different failure of the run once, with its number and its times.
    [[nodiscard]] ErrorLog error_log() const;
    /// What the links and tasks are doing or waiting for, and since when: the first 64 of each, and
    /// how many more there are.
    [[nodiscard]] std::string dump() const;

    /// A descriptor that is readable while receive() or poll() has something to give, the end
    /// included; for poll, epoll, Qt, GLib. It stays the same over restarts. The caller only waits
    /// on it: it neither reads from it nor closes it. Errors: no_resources. Lifetime: until the
    /// sidecar is destroyed.
    [[nodiscard]] Result<int> native_handle();

protected:
    /// Makes no connection and no thread; start() does.
    Feed(std::shared_ptr<const detail::LinkConfig> config, Options settings);

private:
    class SIDECAR_LOCAL Call;
    void end() noexcept;
    [[nodiscard]] Result<Link> open_link(std::shared_ptr<const detail::LinkConfig> config,
                                         LinkOptions options, Duration timeout);
    [[nodiscard]] Result<void> send_message(MessageKind kind, std::span<const std::byte> payload,
                                            const SendOptions& options);
    [[nodiscard]] Result<std::size_t> poll_messages(detail::MessageHandler handler,
                                                    std::size_t limit);
    [[nodiscard]] Result<void> spawn_task(std::string name, detail::TaskFactory factory);
    /// Waits for the coroutine's end; the state outlives a caller that gave up.
    [[nodiscard]] Result<void> call_task(std::string name, detail::TaskFactory factory,
                                         const std::shared_ptr<detail::CallState>& state,
                                         Duration timeout);
    [[nodiscard]] Result<void> start_run(Duration timeout);
    [[nodiscard]] bool is_forked() const noexcept;

    const std::shared_ptr<const detail::LinkConfig> config_; // both: constant
    const Options options_;                                  // both: constant
    const std::uint64_t fork_generation_;                    // both: constant
    const std::shared_ptr<detail::RunRegistry> runs_;        // app side
};

} // namespace sidecar
