// Feed: the calls of an application, whatever the transport.
#pragma once

#include <sidecar/close_reason.hpp>
#include <sidecar/detail/any_acceptor.hpp>
#include <sidecar/detail/any_transport.hpp>
#include <sidecar/detail/call.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/detail/message_handler.hpp>
#include <sidecar/error.hpp>
#include <sidecar/error_log.hpp>
#include <sidecar/event.hpp>
#include <sidecar/format.hpp>
#include <sidecar/link.hpp>
#include <sidecar/listener.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>
#include <sidecar/payload.hpp>
#include <sidecar/send_options.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>
#include <sidecar/transport.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace sidecar {

namespace detail {
class RunRegistry;
}

/// A network feed for a synchronous program: all calls that an application makes. Construct a
/// Sidecar<Transport>; write the application against `Feed&`, so that its test can pass a
/// Sidecar<Mock>.
///
/// Side: app; every call may be made from any thread unless it says otherwise. A call that would
/// wait returns Error::misuse on the loop's own thread (in a coroutine, in a hook). After a fork,
/// calls in the child return Error::forked. A negative timeout counts as zero; Duration::max()
/// means no deadline. A call throws std::bad_alloc if there is no memory; poll() and call() pass on
/// exceptions of the application's own function.
///
/// A Sidecar can be moved, running or not. Its links, signal guards, coroutines and waiting calls
/// continue with the new object; a Feed& still refers to the old one. Calls on a Sidecar that was
/// moved from return Error::misuse, or do nothing. Assigning to a Sidecar first stops it, as its
/// destructor does. While a thread assigns to or destroys a Sidecar, other threads may wait in its
/// calls but begin none; a move from it permits both.
class SIDECAR_API Feed {
public:
    Feed(const Feed&) = delete;
    Feed& operator=(const Feed&) = delete;
    /// Stops as stop() does. On the loop's own thread, where waiting is impossible, it lets the
    /// thread end alone.
    virtual ~Feed() { end(); } // inline: needs none of the library's type information

    /// Starts the thread and connects. After a failure everything is as before, and start() may be
    /// called again. After stop() a new run begins, without the unread messages of the last one.
    /// Blocks: until connected or refused, at most `timeout`; after a failure also for the stop.
    /// Errors: already_started, bad_options, bad_address, timed_out, stopping, no_resources, the
    /// transport's own. Cancellation: request_stop() ends it at once, even if it was called before
    /// start(): then start() returns stopping until stop() has reported that stop.
    [[nodiscard]] Result<void> start(Duration timeout) { return start_run({}, timeout); }

    /// Starts the thread and returns while it connects. next_event() then returns `up`, or fails
    /// with the reason why the link did not come up, as receive() does; native_handle() gets
    /// readable for either. After such a failure call stop() before the next start.
    /// `timeout`: of connecting, as for start(). Empty: Reconnect::connect_timeout (10 s without
    /// Reconnect); with Reconnect::at_start that limits each attempt, and nothing limits their sum.
    /// Blocks: not at all. Errors: already_started, bad_options, bad_address, stopping,
    /// no_resources. Cancellation: request_stop() and stop() end the connecting.
    [[nodiscard]] Result<void> start_in_background(std::optional<Duration> timeout = {});
    /// Waits until the start is over. Returns success, or the failure that start() would return.
    /// Blocks: at most `timeout`; zero: not at all. Errors: timed_out with
    /// will_retry() (the start continues); not_started, stopping, stopped, misuse; the link's own. Cancellation: request_stop() wakes
    /// it.
    [[nodiscard]] Result<void> wait_started(Duration timeout);

    /// Adds a further link on the same thread, with the same inbox. Its transport may be another
    /// one (`feed.open<Tcp<Lines>>({.host = ...}, 5s)`), on the same kind of clock. A link that is
    /// not up in time is closed. `provider` makes the options of each attempt to connect, also of
    /// the first (for a token that expires, or a list of hosts); `options` then serve for the
    /// checks, limits and names of the link only. Its exception fails the attempt.
    /// Blocks and errors: as start(), but a failure leaves the other links as they are; also
    /// not_started, and bad_options for a transport on another kind of clock.
    template <class T>
    [[nodiscard]] Result<Link> open(detail::OptionsOf<T> options, Duration timeout,
                                    LinkOptions settings = {}, OptionsProvider<T> provider = {})
    {
        static_assert(detail::is_transport<T>);
        return open_link(std::make_shared<const detail::TransportConfig<T>>(std::move(options),
                                                                            std::move(provider)),
                         std::move(settings), timeout);
    }
    /// Adds a listener on the same thread, with the same inbox: `feed.listen<WebSocket>({.port =
    /// 8080}, 1s)`. It is a separate link, and so is each of its clients. `clients`: the options
    /// of their links; `reconnect`, `subscriptions` and `outbox` (which the listener's options have)
    /// are bad_options.
    /// Blocks: until it listens, at most `timeout`. Errors: as open(); the acceptor's own, such as
    /// an address in use.
    template <class T>
    [[nodiscard]] Result<Listener> listen(typename detail::AcceptorOf<T>::Options options,
                                          Duration timeout, LinkOptions clients = {})
    {
        using Accepts = detail::AcceptorOf<T>;
        static_assert(detail::is_acceptor<Accepts>);
        return open_listener(
            std::make_shared<const detail::AcceptorConfig<Accepts>>(std::move(options)),
            std::move(clients), timeout);
    }
    /// Queues a message for the clients of all listeners; see Listener::broadcast. Returns for how
    /// many. Errors: also not_started; misuse without a listener.
    Result<std::size_t> broadcast(const Payload& payload, const BroadcastOptions& options = {})
    {
        return broadcast_message(payload.kind(), payload.bytes(), options);
    }
    /// Returns the link that start() connected. Errors: not_started.
    [[nodiscard]] Result<Link> link();
    /// Returns the link with this number, such as a client's (Message::link, Event::link). Errors:
    /// not_started; link_closed: there is none, or it has ended.
    [[nodiscard]] Result<Link> link(LinkId id);

    /// Queues a message for the first link: text, bytes, or a Message; see Payload.
    /// Blocks: not at all with timeout zero, else until there is space, at most `timeout`. Errors:
    /// full, not_connected, stopping, too_big, bad_message. After an error nothing was queued.
    /// Lifetime: copies the payload.
    [[nodiscard]] Result<void> send(const Payload& payload, Duration timeout = {})
    {
        return send_message(payload.kind(), payload.bytes(), {.timeout = timeout});
    }
    /// Queues a message with options for this send. Errors: also wrong_connection.
    [[nodiscard]] Result<void> send(const Payload& payload, const SendOptions& options)
    {
        return send_message(payload.kind(), payload.bytes(), options);
    }
    /// Sends a message to this topic on the first link, and waits for the answer; see Link::request.
    [[nodiscard]] Result<Message> request(std::string_view topic, const Payload& payload,
                                          Duration timeout, std::span<const Header> headers = {})
    {
        return request_message(topic, payload.kind(), payload.bytes(), timeout, headers);
    }
    /// Subscribes on the first link, as Link::subscribe does, now and at each later start: the feed
    /// keeps its subscriptions, which begin with Options::subscriptions, over stop and start. A
    /// call before the first start, between two runs, or while the link is closed, has its effect
    /// at the next start. The same key replaces a subscription.
    /// Blocks: not at all. Errors: bad_options without a key; bad_message, too_big. Lifetime:
    /// copied.
    [[nodiscard]] Result<void> subscribe(std::string key, const Payload& payload,
                                         AckPredicate is_answer = {})
    {
        return add_subscription(
            {std::move(key), std::string{payload.text()}, std::move(is_answer), payload.kind()});
    }
    /// Unsubscribes on the first link, as Link::unsubscribe does, now and for each later start.
    /// Returns whether the key existed.
    /// Blocks: not at all. Errors: bad_message.
    Result<bool> unsubscribe(std::string_view key, const Payload& payload = "",
                             AckPredicate is_answer = {})
    {
        return remove_subscription(
            {std::string{key}, std::string{payload.text()}, std::move(is_answer), payload.kind()});
    }
    /// Waits until the system has taken all messages that were queued on the first link before this
    /// call, and all subscriptions that were never written before.
    /// Blocks: at most `timeout`. Errors: timed_out; stopping; stopped after a stop; not_connected,
    /// at once, if a message is lost with its connection; wrong_connection if a message was bound
    /// to a connection that is gone; expired, after the others are written, if a message expired
    /// during the call or since a flush() last reported it.
    [[nodiscard]] Result<void> flush(Duration timeout);

    /// Takes the next message of any link. The ends of a listener's clients are events only.
    /// Blocks: at most `timeout`; zero polls. Errors: timed_out; a link's failure, once, after the
    /// messages that the link received before (and again when no link is up or tries to be); gap,
    /// once, where messages are missing; stopped after a stop has begun and the queue is empty.
    /// Failure::will_retry() is false at the end, when no further call returns more. Cancellation:
    /// request_stop() wakes it.
    [[nodiscard]] Result<Message> receive(Duration timeout);

    /// Takes the next entry of the whole ordered stream: up, message, gap, down and the other kinds
    /// of Event; at the end stopped, once. Use either this or receive() and poll(), which skip the
    /// entries that they do not return.
    /// Blocks: at most `timeout`. Errors: timed_out; the last link's failure when none is left;
    /// stopped, after the event of that name. Cancellation: request_stop() wakes it.
    [[nodiscard]] Result<Event> next_event(Duration timeout);

    /// Calls `handler(const MessageView&)` for the queued messages, at most `limit`, without a
    /// copy. Returns how many it handled.
    /// Blocks: not at all. Errors: as receive(), except timed_out. Lifetime: a view is valid during
    /// its handler call. An exception of the handler passes through; its message counts as taken.
    /// The handler must not receive from the same sidecar (misuse).
    template <class Handler>
    [[nodiscard]] Result<std::size_t> poll(Handler&& handler, std::size_t limit = SIZE_MAX)
    {
        static_assert(detail::is_message_handler<Handler>);
        return poll_messages(detail::MessageHandler{handler}, limit);
    }

    /// Runs `function(Context)`, a coroutine function that returns Task<>, on the loop. Its
    /// exception goes to the log, to errors() and to the stop report.
    /// Blocks: not at all. Errors: not_started, stopping. Cancellation: the stop cancels it.
    /// Lifetime: `function` is kept until its coroutine has ended.
    template <class F>
    [[nodiscard]] Result<void> spawn(std::string name, F function)
    {
        static_assert(std::is_invocable_r_v<Task<>, F&, Context>,
                      "spawn() takes a coroutine function: sidecar::Task<> f(sidecar::Context)");
        auto shared = std::make_shared<F>(std::move(function));
        return spawn_task(std::move(name), [shared](Context ctx) { return (*shared)(ctx); });
    }

    /// Runs `function(Context)`, a coroutine function that returns Task<R>, on the loop, waits for
    /// its result and rethrows its exception.
    /// Blocks: until it ends, at most `timeout`; the coroutine then continues. Errors: timed_out,
    /// stopping, not_started, misuse. Cancellation and lifetime: as spawn(); it may outlive this
    /// call.
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
        // The loop may be the last to release the state
        if (auto exception = std::exchange(state->exception, nullptr))
            std::rethrow_exception(std::move(exception));
        if constexpr (std::is_void_v<Value>)
            return Result<void>{};
        else
            return Result<Value>{boost::system::in_place_value, std::move(*state->value)};
    }

    /// Returns the present time on the feed's clock: the one of Message::arrival() and Event::at.
    /// It is virtual with the mock: zero before the first start(), and frozen after a stop.
    [[nodiscard]] TimePoint now() const;
    /// Sleeps for `duration`, unless a stop comes. True: the time is over. False, at once: a stop
    /// was requested before or during the call, and no start() followed it. Without a run (before
    /// start(), after a failed one) it sleeps in real time; the mock has no time then, and returns
    /// true.
    /// Blocks: at most `duration`. Errors: on the loop's own thread, in a forked child, and on a
    /// Sidecar that was moved from it returns false and does not sleep. Cancellation:
    /// request_stop() wakes it.
    [[nodiscard]] bool sleep_for(Duration duration);

    /// Begins the stop and returns at once. When nothing runs, the next start() returns stopping,
    /// until stop() has returned. Side: any thread, the loop's own too, and a signal handler (it is
    /// async-signal-safe).
    void request_stop() noexcept;

    /// Waits until a requested stop is over. Any number of threads may wait; all get the same
    /// report.
    /// Blocks: at most `timeout`, and never past the stop's own total. Errors: timed_out,
    /// not_started, misuse.
    [[nodiscard]] Result<StopReport> wait_stopped(Duration timeout);

    /// Calls request_stop() and wait_stopped() for one run, even if other threads start another.
    /// Stopping a stopped feed returns the same report again. Its report covers each request that
    /// was made before it returns; then start() works again.
    /// The close of every link says `reason`: `feed.stop({.code = 1001, .reason = "restart"})`. Of
    /// several reasons the first counts; one that comes once links are being closed has no effect.
    /// With an invalid one the links close with 1000, and bad_options is recorded in errors() and
    /// in the report.
    /// Blocks: at most Options::stop.total. On the loop's own thread it only requests the stop, and
    /// the report says so.
    StopReport stop(CloseReason reason = {});

    [[nodiscard]] State state() const;
    /// Returns the counters of the current or last run.
    [[nodiscard]] Stats stats() const;
    /// Returns what arrived about each topic, those with the most messages first; the last one may
    /// be the sum of the others, with an empty topic. Empty without Options::counted_topics, and
    /// where messages have no topics. It counts what arrives, also what a policy drops later.
    /// Blocks: for a lock that the loop holds for less than a microsecond, and for the copy. Throws
    /// bad_alloc.
    [[nodiscard]] std::vector<TopicStats> topic_stats() const;
    /// Returns each different failure of the current or last run once, with its count and its
    /// times; Stats::errors counts all.
    [[nodiscard]] ErrorLog errors() const;
    /// Describes the activity or the wait of the links and tasks, and since when: the first 64 of
    /// each, and the number of the others.
    [[nodiscard]] std::string dump() const;

    /// Returns a descriptor that is readable while next_event() has something to return: a message,
    /// an event, the last link's failure, the end; for poll, epoll, Qt, GLib. receive() and poll()
    /// skip events, and so may find nothing. It stays the same over restarts. The caller only waits
    /// on it, and neither reads from it nor closes it.
    /// Errors: no_resources. Lifetime: until the sidecar is destroyed.
    [[nodiscard]] Result<int> native_handle();

protected:
    /// Opens no connection and starts no thread; start() does both.
    Feed(std::shared_ptr<const detail::LinkConfig> config, Options settings);
    Feed(Feed&& other) noexcept
        : owner_{std::move(other.owner_)}, runs_{other.runs_.exchange(nullptr)}
    {
    }
    Feed& operator=(Feed&& other) noexcept
    {
        if (this == &other)
            return *this;
        end();
        runs_ = other.runs_.exchange(nullptr);
        owner_ = std::move(other.owner_);
        return *this;
    }

    /// Returns the listener that start() opened. Errors: not_started, misuse.
    [[nodiscard]] Result<Listener> first_listener();
    /// Starts with `config`, and keeps it for later runs; null: with the present one.
    [[nodiscard]] Result<void> start_run(std::shared_ptr<const detail::LinkConfig> config,
                                         Duration timeout);

private:
    friend class SignalGuard;
    class SIDECAR_LOCAL Call;
    void end() noexcept;
    [[nodiscard]] Result<Link> open_link(std::shared_ptr<const detail::LinkConfig> config,
                                         LinkOptions options, Duration timeout);
    [[nodiscard]] Result<Listener> open_listener(std::shared_ptr<const detail::LinkConfig> config,
                                                 LinkOptions clients, Duration timeout);
    [[nodiscard]] Result<std::size_t> broadcast_message(MessageKind kind,
                                                        std::span<const std::byte> payload,
                                                        const BroadcastOptions& options);
    [[nodiscard]] Result<Message> request_message(std::string_view topic, MessageKind kind,
                                                  std::span<const std::byte> payload,
                                                  Duration timeout,
                                                  std::span<const Header> headers);
    [[nodiscard]] Result<void> send_message(MessageKind kind, std::span<const std::byte> payload,
                                            const SendOptions& options);
    [[nodiscard]] Result<void> add_subscription(Subscription subscription);
    [[nodiscard]] Result<bool> remove_subscription(Subscription removal);
    [[nodiscard]] Result<std::size_t> poll_messages(detail::MessageHandler handler,
                                                    std::size_t limit);
    [[nodiscard]] Result<void> spawn_task(std::string name, detail::TaskFactory factory);
    /// Waits for the coroutine's end. The state outlives a caller that gives up.
    [[nodiscard]] Result<void> call_task(std::string name, detail::TaskFactory factory,
                                         const std::shared_ptr<detail::CallState>& state,
                                         Duration timeout);
    [[nodiscard]] Result<std::shared_ptr<detail::Run>> begin_run(
        std::shared_ptr<const detail::LinkConfig> config, std::optional<Duration> timeout);

    /// Null after a move. Only construction, moves and guards use it: a call of another thread that
    /// read it would race with a move.
    std::shared_ptr<detail::RunRegistry> owner_; // app side
    std::atomic<detail::RunRegistry*> runs_;     // app side: atomic; the same object
};

} // namespace sidecar
