// The state of a MockPeer: shared by the peer's copies, the handles of its connections and the
// current Mock.
#pragma once

#include <sidecar/loop_event.hpp>
#include <sidecar/transports/mock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace sidecar::mock {

class Player;

/// The events that the coroutines of one connection wait for. Posted handlers share it, since they
/// may run after the connection.
struct Signals {
    LoopEvent connect, read, write, ping, close; // sidecar side
    void set_all()
    {
        connect.set();
        read.set();
        write.set();
        ping.set();
        close.set();
    }
};

/// A copy of an Envelope.
struct OwnedEnvelope {
    OwnedEnvelope() = default;
    explicit OwnedEnvelope(const Envelope& from)
        : topic{from.topic},
          reply_to{from.reply_to},
          acknowledgement{from.acknowledgement},
          headers{from.headers.begin(), from.headers.end()}
    {
    }
    std::string topic, reply_to, acknowledgement;
    std::vector<MockConnectionLog::OwnedHeader> headers;
};

/// One thing that the peer sends.
struct Incoming {
    enum class Kind { message, bytes, pong, end } what = Kind::message;
    MessageKind kind = MessageKind::text;
    std::string payload{};        // of a message or a pong
    OwnedEnvelope envelope{};     // of a message
    Failure failure{};            // of an end: what the read fails with
    std::uint32_t connection = 0; // for this connection only; 0: for any
};

[[nodiscard]] inline std::string to_string(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[nodiscard]] inline Failure failure(const char* attempted, error_code cause,
                                     Error code = Error::disconnected)
{
    return {code, {.attempted = attempted, .endpoint = "mock", .cause = cause}};
}

[[nodiscard]] inline Failure closed(std::uint16_t code, std::string_view reason)
{
    return {Error::closed_by_peer,
            {.attempted = "read",
             .endpoint = "mock",
             .close_code = code,
             .close_reason = std::string{reason}}};
}

/// Side: any thread, guarded by its mutex. A change wakes the connection's coroutines, which look
/// again.
struct State {
    mutable std::mutex mutex; // guards all below

    // set by the test
    std::shared_ptr<const MockPeer::ConnectHook> on_connect;
    std::shared_ptr<const MockPeer::MessageHook> on_message;
    std::optional<error_code> connect_error;
    Duration connect_delay{};
    Duration close_delay{};
    std::deque<Incoming> incoming;
    std::vector<std::pair<Duration, Incoming>> delayed; // not yet seen by a connection
    std::multimap<TimePoint, Incoming> due;
    std::size_t read_limit = SIZE_MAX;
    struct WriteFailure {
        error_code error;
        std::size_t after;
    };
    std::optional<WriteFailure> write_failure;
    std::size_t failing_operation = 0;
    error_code operation_error;
    bool ignores_abort = false;
    bool holds_writes = false;
    Duration pong_delay{};
    ConnectionInfo connection_info{.peer = "mock"};

    std::shared_ptr<Player> player;
    bool wakes_reader = false; // the player's next step may be due earlier

    // recorded from the sidecar
    std::deque<MockConnectionLog> logs; // with consecutive numbers
    std::vector<std::string> trace;
    std::size_t write_count = 0;
    std::uint32_t connect_count = 0;
    std::optional<CloseReason> closed;
    TimePoint last_seen{}; // of the loop's clock

    // the current connection
    std::optional<MockClock> clock;   // of the latest connection
    std::shared_ptr<Signals> signals; // null: there is no Mock
    boost::asio::any_io_executor executor;
    struct Current {
        std::uint32_t number = 0; // 0: the last one has ended
        std::string token{};
        bool is_up = false;
        bool is_ending = false; // an end is queued
        bool is_cut = false;    // writes fail
        bool holds_writes = false;
        bool is_silent = false; // sends nothing but its end
        bool ignores_close = false;
        std::optional<Failure> refusal{};

        void go_silent() noexcept { is_silent = ignores_close = true; }
        void stall() noexcept
        {
            go_silent();
            holds_writes = true;
        }
    } current;

    template <class Change>
    void apply(Change change)
    {
        std::lock_guard lock{mutex};
        change(*this);
        if (signals)
            boost::asio::post(executor, [s = signals] { s->set_all(); });
    }
    /// The old value may be a function of the test, and is destroyed without the lock.
    template <class T>
    void set(T State::*member, std::type_identity_t<T> value)
    {
        apply([&](State& s) { std::swap(s.*member, value); });
    }
    template <class T>
    [[nodiscard]] T get(T State::*member) const
    {
        std::lock_guard lock{mutex};
        return this->*member;
    }
    /// Lets everything happen that can happen now.
    void settle() const
    {
        if (const auto present = get(&State::clock))
            present->settle();
    }
    /// Asks once everything has happened that can happen now.
    template <class Question>
    auto look(Question question) const
    {
        settle();
        return ask(question);
    }
    template <class Question>
    auto ask(Question question) const
    {
        std::lock_guard lock{mutex};
        return question(*this);
    }

    /// Adds input from the peer. For one connection only (not 0): if that has no end yet.
    void add(Incoming next)
    {
        apply([&](State& s) {
            if (next.connection == 0 || s.can_receive(next.connection))
                s.incoming.push_back(std::move(next));
        });
    }
    /// Returns what the sink had no space for.
    void put_back(Incoming next)
    {
        std::lock_guard lock{mutex};
        incoming.push_front(std::move(next));
    }
    void add_after(Duration delay, Incoming next)
    {
        apply([&](State& s) {
            if (next.connection == 0 || s.can_receive(next.connection))
                s.delayed.emplace_back(delay, std::move(next));
        });
    }
    /// Adds the end of this connection; 0: of the one that is up, or else of the next.
    void end(std::uint32_t connection, Failure why, bool cuts_writes);

    void add_to_trace(TimePoint now, std::string_view what);

    // The rest: with the lock
    [[nodiscard]] bool can_receive(std::uint32_t connection) const noexcept
    {
        return connection == current.number && !current.is_ending;
    }
    /// Null: forget() cleared it.
    [[nodiscard]] MockConnectionLog* log_of(std::uint32_t connection) noexcept
    {
        return !logs.empty() && connection >= logs.front().number
                   ? &logs.at(connection - logs.front().number)
                   : nullptr;
    }
    /// Makes a connection current, which is not up yet. Returns its number.
    std::uint32_t begin(TimePoint now, std::string token);
    void accept(TimePoint now);
    /// Records how a connection ended, the first time.
    void record_end(std::uint32_t connection, TimePoint now, MockConnectionLog::End end,
                    std::optional<Failure> why = std::nullopt);
    /// Queues delayed input that is due. Returns when the next is due.
    TimePoint admit_delayed(TimePoint now);
    /// Returns the next thing to read, if there is one; an end only if `takes_end`.
    [[nodiscard]] std::optional<Incoming> take_incoming(bool takes_end);
    /// Whether a read has something to return.
    [[nodiscard]] bool has_incoming() const noexcept
    {
        return current.is_silent ? current.is_ending : !incoming.empty();
    }
};

} // namespace sidecar::mock
