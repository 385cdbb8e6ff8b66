// What a transport is: the concept, and what the library hands to its calls (Context, Sink, Batch).
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/message.hpp>
#include <sidecar/options.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include <concepts>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

namespace detail {
class LinkImpl;
class Loop;
struct TaskSlot;
class RecordRing;
} // namespace detail

/// What the library's coroutines are: Asio's, so every Asio operation can be awaited in them.
template <class T = void>
using Task = boost::asio::awaitable<T>;

/// Where a link stands; tells dump() and the stop report what is being waited for.
enum class Phase : std::uint8_t { resolving, connecting, tls, handshaking, open, closing, down };
[[nodiscard]] std::string_view to_string(Phase phase) noexcept;

/// Why a transport is asked to close.
struct CloseReason {
    std::uint16_t code = 1000; ///< RFC 6455 section 7.4.1; transports without codes ignore it
    std::string_view reason;   ///< Lifetime: static
};

/// What the loop offers to a coroutine that runs on it. Side: the loop's thread only. Cheap to
/// copy; valid for as long as the coroutine, or the transport, that received it exists.
class Context {
public:
    Context(detail::Loop& loop, detail::TaskSlot& task, detail::LinkImpl* link,
            TimePoint deadline) noexcept
        : loop_{&loop}, task_{&task}, link_{link}, deadline_{deadline}
    {
    }

    /// For Asio objects; handlers that run through it are accounted to this task.
    [[nodiscard]] boost::asio::any_io_executor executor() const;

    /// Now, on the sidecar's clock (virtual with the mock).
    [[nodiscard]] TimePoint now() const;
    /// When the library gives up the operation under way (connect, close); TimePoint::max() where
    /// it will not.
    [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }
    /// Cancellation: throws operation_aborted.
    [[nodiscard]] Task<> sleep_until(TimePoint when) const;
    [[nodiscard]] Task<> sleep_for(Duration duration) const;
    /// Waits for the event; false when the deadline came first. It may also wake without either
    /// having happened (true), so look at what you wait for. Cancellation: throws
    /// operation_aborted. Lifetime: `event` outlives the wait.
    [[nodiscard]] Task<bool> wait(LoopEvent& event, TimePoint deadline) const;

    /// Resolves a host name; an address literal costs nothing. Runs on a helper thread that nobody
    /// ever waits for. Errors (thrown): lookup_failed, lookup_busy. Cancellation: throws
    /// operation_aborted at once.
    [[nodiscard]] Task<std::vector<boost::asio::ip::address>> resolve(std::string host) const;

    /// Says what this link is at, for dump() and the stop report. `detail`: with whom or where, for
    /// the failure if connecting takes too long ("to 192.0.2.1:80"). Without effect in a coroutine
    /// that is no transport's.
    void phase(Phase phase, std::string detail = {}) const;
    /// Says what this task waits for next, for dump() and the stop report. Lifetime: a string
    /// literal.
    void waiting_for(const char* what) const;
    void log(LogLevel level, std::string_view text) const;

private:
    detail::Loop* loop_;
    detail::TaskSlot* task_;
    detail::LinkImpl* link_;
    TimePoint deadline_;
};

/// Where a transport puts the messages that have arrived. Side: the loop's thread.
class Sink {
public:
    explicit Sink(detail::LinkImpl& link) noexcept : link_{&link} {}

    /// Takes one message into the inbox. False: no room; nothing was taken, so keep it, return from
    /// read() and put it again in the next. Throws too_big for a message above the transport's
    /// limit.
    [[nodiscard]] bool put(MessageKind kind, std::span<const std::byte> payload);
    [[nodiscard]] bool put_text(std::string_view payload)
    {
        return put(MessageKind::text, std::as_bytes(std::span{payload}));
    }
    [[nodiscard]] bool put_bytes(std::span<const std::byte> payload)
    {
        return put(MessageKind::bytes, payload);
    }

    /// Optional: memory to receive many messages in. Messages of middle size (32 bytes to 32 KiB)
    /// that are put() from there are not copied, so what was put must not be written to again. At
    /// least so many bytes, mostly more; empty where there is no room for it now: then receive
    /// elsewhere. Lifetime: until read() waits for anything, returns, or calls this again; other
    /// links are then given the same. So call it when there is something to receive, and save what
    /// was not put.
    [[nodiscard]] std::span<std::byte> receive_room(std::size_t at_least);

    /// Optional, for a large message that has not come whole: memory to receive it in, so that it
    /// is not copied. Empty where that does not pay or there is no room for it now: then collect
    /// the message and put() it. Throws too_big. Lifetime: until commit(), or until the link ends,
    /// over any number of reads. One at a time; no put() before commit().
    [[nodiscard]] std::span<std::byte> prepare(std::size_t payload_bytes);
    /// The memory from prepare() holds the message.
    void commit(MessageKind kind);

private:
    detail::LinkImpl* link_;
};

/// All messages that are queued for sending, oldest first. Lifetime: borrowed until write()
/// returns.
class Batch {
public:
    class iterator {
    public:
        using value_type = MessageView;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        iterator(const detail::RecordRing* ring, std::uint64_t position) noexcept
            : ring_{ring}, position_{position}
        {
        }
        MessageView operator*() const;
        iterator& operator++();
        iterator operator++(int)
        {
            auto old = *this;
            ++*this;
            return old;
        }
        friend bool operator==(const iterator& a, const iterator& b) noexcept
        {
            return a.position_ == b.position_;
        }

    private:
        const detail::RecordRing* ring_ = nullptr;
        std::uint64_t position_ = 0;
    };

    Batch(detail::LinkImpl& link, const detail::RecordRing& ring, std::uint64_t from,
          std::uint64_t to) noexcept
        : link_{&link}, ring_{&ring}, from_{from}, to_{to}
    {
    }

    [[nodiscard]] iterator begin() const noexcept { return {ring_, from_}; }
    [[nodiscard]] iterator end() const noexcept { return {ring_, to_}; }

    /// Optional: says that the `count` oldest messages not yet marked have been handed to the
    /// system, so that a failure later in this write is counted exactly. A write() that returns
    /// normally has written all. Lifetime: the marked messages, and iterators that stand on them,
    /// are gone.
    void mark_written(std::size_t count) const;

private:
    detail::LinkImpl* link_;
    const detail::RecordRing* ring_;
    std::uint64_t from_;
    std::uint64_t to_;
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
/// Optional members: `using Clock = VirtualClock`; `Options::max_message_bytes` (default 1 MiB);
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
