// Mock: a transport in memory, on virtual time, driven by the test's thread.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/faults.hpp>
#include <sidecar/message.hpp>
#include <sidecar/mock_clock.hpp>
#include <sidecar/transport.hpp>
#include <sidecar/transports/mock_connection.hpp>
#include <sidecar/transports/mock_script.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar {

/// The test's end of a Mock: it does what the network and the peer would do. Copies are the same
/// peer, which holds one connection at a time; a second link needs a separate peer. Calls take
/// effect in their order, also before the sidecar starts and over restarts, once the loop runs: the
/// application waits or looks (see MockClock). Side: any thread. Blocks: not at all, except
/// advance(); questions let everything happen first that can happen at the present moment.
class SIDECAR_API MockPeer {
public:
    using ConnectHook = std::function<void(MockConnection&)>;
    using MessageHook = std::function<void(MockConnection&, const MessageView&)>;

    MockPeer();

    /// Calls `hook` for each connect, after its delay: the hook may refuse it, and act on the
    /// connection. An exception of the hook is the connect's failure. An empty hook removes it; a
    /// call that runs meanwhile ends first. The hook runs on the loop's thread, and may call
    /// everything here. Lifetime: kept until replaced; capture no copy of this peer, see
    /// MockConnection::peer().
    void on_connect(ConnectHook hook);
    /// Calls `hook` for each message that the sidecar writes, as on_connect(). An exception of the
    /// hook fails the write, which counts as written up to this message; the connection ends.
    /// MessageView::arrival() is the present time.
    void on_message(MessageHook hook);

    /// Plays a script, in place of the one before. It begins at the present connection, or else at
    /// the next connect. Hooks are called too, behind the script.
    void play(MockScript script);
    /// Returns whether the script has done all its steps, and nothing came that no step expects.
    /// Without a script: success. It changes nothing: call it whenever you like, in hooks too.
    /// Errors: script_failed; the text shows the step, what was expected, what came, and the trace
    /// around it.
    [[nodiscard]] Result<void> verify() const;

    /// Fails the next connects with this error, until allow_connect().
    void refuse_connect(error_code error);
    /// Ends refuse_connect() and delay_connect(); a connect that waits continues.
    void allow_connect();
    /// Delays each connect, in virtual time; Duration::max(): for ever.
    void delay_connect(Duration delay);

    /// Delivers a message to the sidecar: a string as text, bytes as binary. Without a connection
    /// that can read it, it waits for the next one. Lifetime: copied at once.
    void deliver(std::string_view text);
    void deliver(std::span<const std::byte> bytes);
    /// Delivers a text with a topic, headers and so on, as deliver().
    void deliver(std::string_view text, const Envelope& envelope);
    /// Delivers a text after this virtual time, counted from the call or, if that is later, from
    /// the next connect. It outlives connections, as deliver().
    void deliver_after(Duration delay, std::string_view text);
    /// Limits the messages that one read delivers; default: no limit.
    void limit_reads(std::size_t messages);

    // An end that is queued while a connection is up is for that connection, or else for the next.

    /// Fails the read with this error, after the messages delivered before.
    void fail_read(error_code error);
    /// Fails one write with this error, after `messages` more messages were written.
    void fail_write(error_code error, std::size_t messages = 0);
    /// Drops the connection. Reads fail with end of file after the messages delivered before;
    /// writes and pings fail with a broken pipe at once.
    void drop();
    /// Closes politely, with a code and a reason, after the messages delivered before.
    void close(std::uint16_t code, std::string_view reason);
    /// Fails the n-th operation from now on (connect, read, write, ping, close); 1: the next.
    void fail_operation(std::size_t n, error_code error);

    /// Sets the facts that Link::connection_info() returns from the next connect on, such as
    /// headers. Default: the peer's address is "mock".
    void set_connection_info(ConnectionInfo info);

    /// Delays the answer to a close, in virtual time; Duration::max(): never answers, only abort()
    /// ends it.
    void delay_close(Duration delay);
    /// Ignores abort() and cancellation, against the concept's promise, until release_abort().
    void ignore_abort();
    void release_abort();
    /// Holds writes and pings until release_writes().
    void hold_writes();
    void release_writes();
    /// Delays the answer to a ping, in virtual time (default: none); Duration::max(): never
    /// answers.
    void delay_pongs(Duration delay);
    /// Sends bytes that are no message: a sign of life without data.
    void send_bytes();

    /// Lets this virtual time pass, on the clock of the peer's latest connection; zero: everything
    /// that can happen at the present moment. For loops around poll(), or a wait on
    /// native_handle(). Before the first connect there is no time.
    /// Blocks and errors: as MockClock::advance.
    void advance(Duration duration);

    /// Returns the connection that is up; empty: there is none.
    [[nodiscard]] std::optional<MockConnection> connection() const;
    /// Returns a log of each connect since forget(), oldest first.
    [[nodiscard]] std::vector<MockConnectionLog> connections() const;
    /// Clears connections(), written(), sent() and trace(), which grow without bound otherwise.
    void forget();
    /// Returns the messages that the sidecar has written, oldest first.
    [[nodiscard]] std::vector<std::string> sent() const;
    /// Returns the same with the number of the connection: "2:login". "2:half of x" is the message
    /// in which a write failed, "2:close" a polite close of the sidecar.
    [[nodiscard]] std::vector<std::string> written() const;
    /// Returns how often written() has this entry.
    [[nodiscard]] std::size_t count(std::string_view entry) const;
    /// Returns the number of write() calls.
    [[nodiscard]] std::size_t write_count() const;
    [[nodiscard]] std::size_t connect_count() const;
    /// Returns whether the sidecar closed politely and was answered; close_code(): its code, or 0;
    /// close_reason(): its reason.
    [[nodiscard]] bool was_closed() const;
    [[nodiscard]] std::uint16_t close_code() const;
    [[nodiscard]] std::string close_reason() const;
    /// Returns the sidecar's operations in order, each with its virtual time in seconds: "0.000
    /// connect", "2.500 write 3".
    [[nodiscard]] std::vector<std::string> trace() const;

private:
    friend class Mock;
    friend class MockConnection;
    explicit MockPeer(std::shared_ptr<mock::State> state) noexcept : state_{std::move(state)} {}

    std::shared_ptr<mock::State> state_; // both: guarded by its mutex
};

/// A transport in memory, on virtual time, driven by a MockPeer. Its calls are those of Transport.
/// Side: the loop's thread.
class SIDECAR_API Mock {
public:
    using Clock = VirtualClock;
    class Acceptor; ///< of Server<Mock>: sidecar/transports/mock_server.hpp

    struct Options {
        MockPeer peer{};
        std::size_t max_message_bytes = 1u << 20; ///< bytes; larger ones end the link
        /// The clock that the feed shares with others. Empty: each run has a separate one.
        std::optional<MockClock> clock{};
        Faults faults{};     ///< drawn for each connect, read, write, ping and close; default: none
        std::string token{}; ///< shown by the peer's log of the connection
        bool topics = false; ///< sends may have a topic, reply_to and headers
    };

    explicit Mock(const Options& options);
    Mock(const Mock&) = delete;
    Mock& operator=(const Mock&) = delete;
    ~Mock();

    [[nodiscard]] static std::optional<MockClock> mock_clock(const Options& options)
    {
        return options.clock;
    }
    [[nodiscard]] static bool carries_topics(const Options& options) { return options.topics; }
    [[nodiscard]] static Result<void> check_send(const Options&, const MessageView&) { return {}; }
    [[nodiscard]] static std::string endpoint(const Options&) { return "mock"; }
    [[nodiscard]] static Result<void> check(const Options& options)
    {
        return check_faults(options.faults);
    }
    /// Off, so that a trace shows only operations that the test has caused.
    [[nodiscard]] static Liveness default_liveness()
    {
        return {.ping_interval = {}, .ping_timeout = {}};
    }

    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Context ctx, Batch batch);
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(Context ctx, CloseReason reason);
    void abort() noexcept;
    [[nodiscard]] ConnectionInfo connection_info();

private:
    struct SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

static_assert(Transport<Mock>);

} // namespace sidecar
