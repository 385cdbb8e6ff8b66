// The other side of a link's Sink: what its transport reads goes from here into the inbox.
#pragma once

#include "link/services.hpp"

#include <sidecar/context.hpp>
#include <sidecar/sink.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace sidecar::detail {

/// Takes a link's messages into the inbox, or into the link's own queue beside it, makes its listener
/// wait for free space, and counts what a stop makes it discard. Owned by its link, whose last owner may be a thread of the application:
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

    /// From now on everything is discarded, and who waits for free space is let through.
    void quiesce();
    /// Waits until what was put is in the inbox, or counted. Before the link tells its end.
    [[nodiscard]] Task<> deliver_pending(Context ctx);
    /// A read begins, for which there is room for one message of the size limit.
    void begin_read() noexcept { has_put_ = false; }
    /// Nothing more will be put: what is pending goes into the inbox or is counted.
    void end();
    /// Whether the listener waits for free space.
    [[nodiscard]] bool is_paused() const noexcept { return paused_since_.load() != not_paused; }

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
    [[nodiscard]] bool has_space();
    /// The same, and if not, `space_` is set once there is.
    [[nodiscard]] bool want_space();
    [[nodiscard]] bool put_into_own_queue(MessageKind kind, std::span<const std::byte> payload);
    void check_size(std::size_t payload_bytes) const;
    /// What the inbox did not take at once.
    [[nodiscard, gnu::cold]] bool put_aside(MessageKind kind, std::span<const std::byte> payload);
    /// True if nothing is pending any more.
    [[nodiscard]] bool push_pending();
    void drop_pending();
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
    bool is_unusual_ = false;       // sidecar side; quiesced, or with a queue of its own
    LinkQueue* queue_ = nullptr;    // sidecar side; null: the inbox that all share
    LoopEvent space_;               // sidecar side
    std::atomic<std::uint64_t> pause_count_{0};           // both: atomic
    std::atomic<Duration::rep> paused_{0};                // both: atomic; ended pauses
    std::atomic<Duration::rep> paused_since_{not_paused}; // both: atomic
};

} // namespace sidecar::detail
