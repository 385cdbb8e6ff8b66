// A link's Sink: what its transport reads goes from here into the inbox.
#pragma once

#include "link/keep_alive.hpp"
#include "link/message_watcher.hpp"
#include "link/pause_meter.hpp"
#include "link/services.hpp"

#include <sidecar/context.hpp>
#include <sidecar/sink.hpp>

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

/// Takes a link's messages into the inbox, or into the link's queue beside it, makes its listener wait
/// for free space, and counts the messages that a stop makes it discard. Owned by its link, over all
/// its connections; its last owner may be a thread of the application. Invariant: every message that a
/// transport has put is in the inbox, pending here, or counted as discarded; and what is pending goes
/// into the inbox as soon as there is space, whatever the transport does.
class LinkSink final : public Sink {
public:
    /// Lifetime: `services` and `keep_alive` outlive it.
    LinkSink(LinkServices& services, KeepAlive& keep_alive, LinkId link,
             std::size_t max_message_bytes, std::string endpoint, const Overflow& overflow);
    ~LinkSink() override;

    // Sink
    bool put(MessageKind kind, std::span<const std::byte> payload) override;
    std::span<std::byte> receive_buffer(std::size_t at_least) override;
    std::span<std::byte> prepare(std::size_t payload_bytes) override;
    void commit(MessageKind kind) override;
    Task<bool> wait_for_room(Context ctx, TimePoint deadline) override;
    void note_bytes() override;
    void note_pong(std::span<const std::byte> payload) override;

    /// A connection begins. `on_failure`: is called once if messages cannot be handed on outside of its
    /// calls, since the application's code threw; then it ends reading, and the listener's next call
    /// here throws that. Lifetime: what it refers to outlives the connection.
    void begin_connection(std::function<void()> on_failure);
    /// From now on messages belong to the connection of this number.
    void set_connection(std::uint32_t number) noexcept { connection_ = number; }
    /// From now on this one looks at each message, behind those that do already. Lifetime: until
    /// unwatch(), or the watcher outlives this.
    void watch(MessageWatcher& watcher);
    void unwatch(MessageWatcher& watcher);
    /// There is space in the inbox, or a watcher is not full now.
    void space_came();
    /// These go into the inbox before all that arrives. False: they cannot; see begin_connection().
    [[nodiscard]] bool put_first(std::deque<Message> messages) noexcept;
    /// Throws too_big for a message that the inbox could never hold.
    void validate_fits_inbox(std::size_t payload_bytes) const;
    /// Puts a message into the inbox once there is space, or counts it as discarded if a stop has begun.
    [[nodiscard]] Task<> pass_on(Message message);

    /// From now on everything is discarded, and nobody waits for free space.
    void quiesce();
    /// Waits until what was put is in the inbox, or counted. Before the link reports its end.
    [[nodiscard]] Task<> deliver_pending(Context ctx);
    /// A read begins, for which there is room for one message of the size limit.
    void begin_read() noexcept { has_put_ = false; }
    /// In this read.
    [[nodiscard]] bool has_put() const noexcept { return has_put_; }
    /// Nothing more will be put: what is pending goes into the inbox or is counted.
    void end() noexcept;
    /// Whether the listener waits for free space.
    [[nodiscard]] bool is_paused() const noexcept { return pauses_.is_paused(); }
    /// Of the listener. Side: both.
    [[nodiscard]] PauseMeter::Pauses pauses() const noexcept
    {
        return pauses_.pauses(services_.loop.now());
    }

private:
    friend LinkServices;
    /// A message that is received where the application will read it.
    struct InPlace {
        Block block;
        std::size_t bytes = 0;
        MessageKind kind = MessageKind::bytes;
        bool is_whole = false; // and waits for space for its record
    };

    [[nodiscard]] bool refuses() const noexcept;
    [[nodiscard]] bool has_space_for(std::size_t payload_bytes);
    /// The same; if not, space_came() is called once there is.
    [[nodiscard]] bool want_space(std::size_t payload_bytes);
    [[nodiscard, gnu::cold]] bool put_unusual(const MessageView& message);
    /// Into the link's queue, or the inbox. False: no space.
    [[nodiscard]] bool push_whole(const MessageView& message);
    void validate_size(std::size_t payload_bytes) const;
    void set_aside(const MessageView& message);
    /// True if nothing is pending now.
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

    LinkServices& services_;              // both
    KeepAlive& keep_alive_;               // sidecar side
    const LinkId link_;                   // both: constant
    const std::size_t max_message_bytes_; // both: constant
    const std::string endpoint_;          // both: constant
    LinkQueue* queue_ = nullptr;          // sidecar side; null: the inbox that all share
    std::uint32_t connection_ = 1;        // sidecar side
    bool has_put_ = false;                // sidecar side; in this read
    bool is_quiesced_ = false;            // sidecar side
    bool is_unusual_ = false;    // sidecar side; put() has to look at something before the inbox
    std::list<Message> pending_; // sidecar side; in order, before what is in place
    InPlace in_place_;           // sidecar side
    std::vector<MessageWatcher*> watchers_;            // sidecar side
    LoopEvent space_;                                  // sidecar side; the listener waits for it
    std::vector<std::weak_ptr<LoopEvent>> passing_on_; // sidecar side; those of pass_on()
    std::exception_ptr failure_;                       // sidecar side; nothing can be handed on
    std::function<void()> on_failure_;                 // sidecar side
    bool waits_for_space_ = false;                     // sidecar side; is among the space_waiters
    PauseMeter pauses_;                                // both; of the listener
};

} // namespace sidecar::detail
