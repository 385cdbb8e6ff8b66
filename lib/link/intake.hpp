// The other side of a link's Sink: what its transport reads goes from here into the inbox.
#pragma once

#include "link/services.hpp"

#include <sidecar/context.hpp>
#include <sidecar/sink.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sidecar::detail {

/// Looks at a link's messages before they go into the inbox. Side: sidecar.
class MessageWatcher {
public:
    enum class Verdict : std::uint8_t {
        pass,  ///< it goes on
        taken, ///< it does not
        full,  ///< it will be taken, but not now
    };
    [[nodiscard]] virtual Verdict offer(const MessageView& message) = 0;
    /// Whether offer() would say `full`; space_came() is to be called when it would not any more.
    [[nodiscard]] virtual bool is_full() const { return false; }
    /// Whether it might take a message of this size, which then is not received in place.
    [[nodiscard]] virtual bool may_take(std::size_t payload_bytes) const
    {
        (void)payload_bytes;
        return false;
    }

protected:
    ~MessageWatcher() = default;
};

/// Takes a link's messages into the inbox, or into the link's own queue beside it, makes its listener
/// wait for free space, and counts what a stop makes it discard. Owned by its link, and goes on over
/// its connections; its last owner may be a thread of the application, so
/// its end touches nothing of the loop's. Every message that a transport has put is in the inbox,
/// pending here, or counted as discarded.
class Intake final : public Sink {
public:
    Intake(LinkServices& services, LinkId link, std::size_t max_message_bytes, std::string endpoint,
           const Overflow& overflow = {});
    ~Intake() override;

    // Sink
    bool put(MessageKind kind, std::span<const std::byte> payload) override;
    std::span<std::byte> receive_buffer(std::size_t at_least) override;
    std::span<std::byte> prepare(std::size_t payload_bytes) override;
    void commit(MessageKind kind) override;
    Task<bool> wait_for_room(Context ctx, TimePoint deadline) override;

    /// From now on this one looks at each message, behind those that do already. Lifetime: until
    /// unwatch(), or the watcher outlives this.
    void watch(MessageWatcher& watcher);
    void unwatch(MessageWatcher& watcher);
    /// A watcher is not full any more.
    void space_came() { space_.set(); }
    /// These have come and go into the inbox before all that comes.
    void put_first(std::deque<Message> messages);
    /// Puts a message into the inbox at once, or counts it as discarded if a stop has begun. False:
    /// no space.
    [[nodiscard]] bool push_now(const Message& message);
    /// A space_came() is due, or push_now() should be tried again, for this event is set.
    [[nodiscard]] Task<> wait_for_space(LoopEvent& event);

    /// From now on everything is discarded, and who waits for free space is let through.
    void quiesce();
    /// Waits until what was put is in the inbox, or counted. Before the link tells its end.
    [[nodiscard]] Task<> deliver_pending(Context ctx);
    /// A read begins, for which there is room for one message of the size limit.
    void begin_read() noexcept { has_put_ = false; }
    /// Nothing more will be put: what is pending goes into the inbox or is counted.
    void end();
    /// Whether the listener waits for free space.
    [[nodiscard]] bool is_paused() const noexcept { return paused_.since.load() != not_paused; }

    struct Pauses {
        std::uint64_t count = 0;
        Duration total{};
    };
    /// Of the listener, the present one included. Side: both.
    [[nodiscard]] Pauses pauses() const noexcept;

private:
    static constexpr Duration::rep not_paused = -1;
    /// A message that is received where the application will read it.
    struct InPlace {
        Block block;
        std::size_t bytes = 0;
        MessageKind kind = MessageKind::bytes;
        bool is_whole = false; // and waits for space for its record
    };

    [[nodiscard]] bool refuses() const noexcept;
    /// For the largest message.
    [[nodiscard]] bool has_space() { return has_space_for(max_message_bytes_); }
    [[nodiscard]] bool has_space_for(std::size_t payload_bytes);
    /// The same, and if not, `space_` is set once there is.
    [[nodiscard]] bool want_space();
    /// Into the link's queue, or the inbox. False: no space.
    [[nodiscard]] bool push_whole(const MessageView& message);
    [[nodiscard]] bool put_into_own_queue(MessageKind kind, std::span<const std::byte> payload);
    void check_size(std::size_t payload_bytes) const;
    /// What the inbox did not take at once.
    [[nodiscard, gnu::cold]] bool put_aside(MessageKind kind, std::span<const std::byte> payload);
    /// True if nothing is pending any more.
    [[nodiscard]] bool push_pending();
    void drop_pending();
    [[nodiscard]] bool has_pending() const noexcept
    {
        return backlog_ || held_ || in_place_.is_whole;
    }
    [[nodiscard]] bool push_backlog();
    [[nodiscard]] bool is_watcher_full() const;
    [[nodiscard]] bool may_be_taken(std::size_t payload_bytes) const;
    [[nodiscard]] MessageWatcher::Verdict ask_watchers(const MessageView& message);
    void note_if_unusual() noexcept
    {
        is_unusual_ = is_quiesced_ || queue_ || backlog_ || !watchers_.empty();
    }
    void cancel_in_place() noexcept;
    void begin_pause();
    void end_pause() noexcept;

    LinkServices& services_;              // both
    const LinkId link_;                   // both: constant
    const std::size_t max_message_bytes_; // both: constant
    const std::string endpoint_;          // both: constant
    std::unique_ptr<Message> held_; // sidecar side; put when another link had filled the inbox
    InPlace in_place_;              // sidecar side
    bool has_put_ = false;          // sidecar side; in this read
    bool is_quiesced_ = false;      // sidecar side
    bool is_unusual_ = false;       // sidecar side; put() has to look at something before the inbox
    LinkQueue* queue_ = nullptr;    // sidecar side; null: the inbox that all share
    std::vector<MessageWatcher*> watchers_;        // sidecar side
    std::unique_ptr<std::deque<Message>> backlog_; // sidecar side; null: there is none
    LoopEvent space_;                              // sidecar side
    struct PauseCounts {                           // both: atomic
        std::atomic<std::uint64_t> count{0};
        std::atomic<Duration::rep> ended{0}; // their time
        std::atomic<Duration::rep> since{not_paused};
    };
    PauseCounts paused_; // both
};

} // namespace sidecar::detail
