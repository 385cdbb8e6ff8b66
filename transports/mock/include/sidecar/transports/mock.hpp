// Mock: a transport in memory, on virtual time, driven from the test's thread.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/transport.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

/// The other end of a Mock, in the hands of the test: what the network and the peer would do.
/// Copies are the same peer, which holds one connection at a time (a second link wants a peer of
/// its own). Side: any thread. What it is told takes effect in the order it is told; nothing here
/// waits for the sidecar, and no call ever sleeps. It may be told things before the sidecar starts,
/// and lives on over restarts.
class SIDECAR_API MockPeer {
public:
    MockPeer();

    /// The next connects fail with this error, until allow_connect().
    void refuse_connect(error_code error);
    void allow_connect();
    /// Each connect takes this long, in virtual time; Duration::max(): for ever.
    void delay_connect(Duration delay);

    /// Hands a message to the sidecar (before the connection is up, it waits there).
    void deliver(std::string_view text);
    void deliver(std::span<const std::byte> bytes);
    /// The same, so much virtual time after the call (or after the connect, if that comes later).
    void deliver_after(Duration delay, std::string_view text);
    /// How many messages, at most, one read brings; default: all that are there.
    void limit_reads(std::size_t messages);

    /// After what was delivered before, the read fails with this error.
    void fail_read(error_code error);
    /// The write after `messages` more messages fails with this error.
    void fail_write(error_code error, std::size_t messages = 0);
    /// After what was delivered before, the connection is gone: reads give end of file, writes a
    /// broken pipe.
    void drop();
    /// After what was delivered before, the peer closes politely, with a code and a reason.
    void close(std::uint16_t code, std::string_view reason);
    /// Lets the transport itself throw, from its n-th operation (connect, read, write, close) on
    /// from here; 1 is the next.
    void fail_operation(std::size_t n, error_code error);

    /// Answers a close only after so much virtual time; Duration::max(): never, only abort ends it.
    void delay_close(Duration delay);
    /// Ignores even the abort (a transport that breaks the concept's promise), until
    /// release_abort().
    void ignore_abort();
    void release_abort();
    /// Writes wait until release_writes().
    void hold_writes();
    void release_writes();
    /// Answers pings after so much virtual time (default: at once); Duration::max(): never.
    void delay_pongs(Duration delay);
    /// Something comes that is no message, so a sign of life without data.
    void send_bytes();

    /// Forgets what sent() and trace() tell; they grow without bound otherwise.
    void forget();
    /// What the sidecar has sent, oldest first.
    [[nodiscard]] std::vector<std::string> sent() const;
    /// How many calls of write() it took.
    [[nodiscard]] std::size_t write_count() const;
    [[nodiscard]] std::size_t connect_count() const;
    /// Whether the sidecar has closed politely (and was answered), and with which code.
    [[nodiscard]] bool was_closed() const;
    [[nodiscard]] std::uint16_t close_code() const;
    /// What the sidecar did, in order, each entry with its virtual time: "0.000 connect", "2.500
    /// write 3".
    [[nodiscard]] std::vector<std::string> trace() const;

private:
    friend class Mock;
    struct SIDECAR_LOCAL State;
    std::shared_ptr<State> state_; // both: guarded by its mutex
};

/// See MockPeer.
class SIDECAR_API Mock {
public:
    using Clock = VirtualClock;

    struct Options {
        MockPeer peer{};
        std::size_t max_message_bytes = 1u << 20; ///< larger ones end the link; bytes
    };

    explicit Mock(const Options& options);
    Mock(const Mock&) = delete;
    Mock& operator=(const Mock&) = delete;
    ~Mock();

    [[nodiscard]] static std::string endpoint(const Options&) { return "mock"; }
    /// Off, so that a trace has nothing in it that the test did not ask for.
    [[nodiscard]] static Liveness default_liveness() { return {.interval = {}, .timeout = {}}; }

    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Context ctx, Batch batch);
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(Context ctx, CloseReason reason);
    void abort() noexcept;

private:
    struct SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

static_assert(Transport<Mock>);

} // namespace sidecar
