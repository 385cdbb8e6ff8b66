// LinkSink: takes messages from a link's transport into the inbox.
#pragma once

#include "link/keep_alive.hpp"
#include "link/message_watcher.hpp"
#include "link/pause_meter.hpp"
#include "link/services.hpp"

#include <sidecar/context.hpp>
#include <sidecar/sink.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sidecar::detail {

class Requests;

/// Takes a link's messages into the inbox or into the link's queue, lets its listener wait for
/// capacity, and counts the messages that a stop discards. Owned by its link, over all its
/// connections; the last owner may be an application thread. Invariant: every message that a
/// transport has put is in the inbox, pending here, or counted as discarded. A pending message goes
/// into the inbox as soon as there is capacity, whatever the transport does.
class LinkSink final : public Sink {
public:
    /// Lifetime: `services`, `keep_alive` and `endpoint` outlive it.
    LinkSink(LinkServices& services, KeepAlive& keep_alive, LinkId link,
             std::size_t max_message_bytes, const std::string& endpoint, const Overflow& overflow);
    ~LinkSink() override;

    // Sink
    bool put(MessageKind kind, std::span<const std::byte> payload) override;
    bool put_envelope(MessageKind kind, std::span<const std::byte> payload,
                      const Envelope& envelope) override;
    void put_gap(std::uint64_t missing) override;
    std::span<std::byte> receive_buffer(std::size_t at_least) override;
    std::span<std::byte> prepare(std::size_t payload_bytes) override;
    void commit(MessageKind kind) override;
    Task<bool> wait_for_room(Context ctx, TimePoint deadline) override;
    void on_bytes() override;
    void on_pong(std::span<const std::byte> payload) override;

    /// Begins a connection. `on_failure` is called once if the application's code throws while no
    /// call of the listener is under way. It must end reading; the listener's next call here throws
    /// that exception. Lifetime: references in `on_failure` outlive the connection.
    void begin_connection(std::function<void()> on_failure);
    /// Assigns messages to the connection of this number from now on.
    void set_connection(std::uint32_t number) noexcept
    {
        connection_ = number;
        is_announced_ = true;
    }
    /// Shows each message to `watcher` from now on, after the earlier watchers. Lifetime: until
    /// unwatch(), or the watcher outlives this.
    void watch(MessageWatcher& watcher);
    void unwatch(MessageWatcher& watcher);
    /// The inbox has capacity, or a watcher is no longer full: looks again.
    void space_came();
    /// Puts these messages (null: none), which it moves from, into the inbox before all that arrive
    /// later. Returns false if it cannot; see begin_connection().
    [[nodiscard]] bool prepend(std::deque<Message>* messages) noexcept;
    /// Throws too_big for a message that is larger than the inbox can hold.
    void validate_fits_inbox(std::size_t payload_bytes) const;
    /// Puts a message into the inbox once there is capacity, or counts it as discarded if a stop
    /// has begun.
    [[nodiscard]] Task<> pass_on(Message message);

    /// Lets `requests` take the messages that are answers. Lifetime: it outlives this. Side: app.
    void set_requests(Requests* requests) noexcept { requests_ = requests; }

    /// Discards everything from now on, and wakes the waiters for capacity.
    void quiesce();
    /// Discards messages until the next connection: this one did not come up.
    void shut();
    /// Waits until all messages are in the inbox or counted. Call it before the link reports its
    /// end.
    [[nodiscard]] Task<> deliver_pending(Context ctx);
    /// Begins a read; there is capacity for one message of the size limit.
    void begin_read() noexcept { has_put_ = false; }
    /// Returns whether this read has put a message.
    [[nodiscard]] bool has_put() const noexcept { return has_put_; }
    /// The connection puts nothing more: pending messages go into the inbox or are counted as
    /// discarded.
    void end() noexcept;
    /// Returns whether the listener waits for capacity.
    [[nodiscard]] bool is_paused() const noexcept { return pauses_.is_paused(); }
    /// Counts the listener's pauses. Side: both.
    [[nodiscard]] PauseMeter::Pauses pauses() const noexcept
    {
        return pauses_.pauses(services_.loop.now());
    }

private:
    friend LinkServices;
    /// A message that is received in the memory where the application will read it.
    struct InPlace {
        Block block;
        std::size_t bytes = 0;
        MessageKind kind = MessageKind::binary;
        bool is_whole = false; // it waits for capacity for its record
    };

    [[nodiscard]] bool refuses() const noexcept;
    [[nodiscard]] bool has_space_for(std::size_t payload_bytes);
    /// Does the same. If there is no capacity, space_came() follows once there is.
    [[nodiscard]] bool want_space(std::size_t payload_bytes);
    [[nodiscard]] bool put_stored(StoredKind kind, std::span<const std::byte> stored);
    [[nodiscard, gnu::cold]] bool put_unusual(const MessageView& message);
    /// Pushes into the link's queue or the inbox. Returns false without capacity.
    [[nodiscard]] bool push_whole(const MessageView& message);
    void validate_size(std::size_t payload_bytes) const;
    void set_aside(const MessageView& message);
    void push_gap();
    /// Pushes pending messages. Returns whether none is left.
    [[nodiscard]] bool push_pending();
    void drop_pending() noexcept;
    [[nodiscard]] bool has_pending() const noexcept
    {
        return !pending_.empty() || in_place_.is_whole;
    }
    [[nodiscard]] bool is_watcher_full() const;
    [[nodiscard]] MessageWatcher::Verdict ask_watchers(const MessageView& message);
    void fail(std::exception_ptr why) noexcept;
    void look_whether_unusual() noexcept;
    void cancel_in_place() noexcept;
    void stop_waiting_for_space() noexcept;
    void end_pause() noexcept;

    LinkServices& services_;                           // both
    KeepAlive& keep_alive_;                            // sidecar side
    const LinkId link_;                                // both: constant
    const std::size_t max_message_bytes_;              // both: constant
    const std::string& endpoint_;                      // both: constant; the link's
    std::atomic<Requests*> requests_{nullptr};         // both: atomic; null: no request was made
    LinkQueue* queue_ = nullptr;                       // sidecar side; null: the shared inbox
    std::uint32_t connection_ = 1;                     // sidecar side
    bool has_put_ = false;                             // sidecar side; in this read
    bool is_announced_ = false;                        // sidecar side; the connection has its `up`
    bool is_quiesced_ = false;                         // sidecar side
    bool is_shut_ = false;                             // sidecar side
    bool is_unusual_ = false;                          // sidecar side; put() needs more checks
    std::list<Message> pending_;                       // sidecar side; in order, before in_place_
    std::uint64_t pending_gap_ = 0;                    // sidecar side; missing behind those
    InPlace in_place_;                                 // sidecar side
    std::vector<MessageWatcher*> watchers_;            // sidecar side
    LoopEvent space_;                                  // sidecar side; the listener waits for it
    std::vector<std::weak_ptr<LoopEvent>> passing_on_; // sidecar side; waiting pass_on() calls
    std::exception_ptr failure_;                       // sidecar side; set: cannot hand on
    std::function<void()> on_failure_;                 // sidecar side
    bool waits_for_space_ = false;                     // sidecar side; is in space_waiters
    PauseMeter pauses_;                                // both; of the listener
};

} // namespace sidecar::detail
