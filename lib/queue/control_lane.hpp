// The messages that are sent before all ordinary ones.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/message.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace sidecar::detail {

/// A small queue beside the outbox: few messages, each in memory of its own, so that it costs nothing
/// where it is not used. Any thread of the application pushes, the link's writer takes all that is
/// there. Owned by the outbox. What was accepted is written, or was late, or is unsent, and is counted
/// as that; after each call accepted = written + late + unsent + queued + being written.
class ControlLane {
public:
    static constexpr std::size_t most_messages = 64, most_bytes = 64u << 10;

    /// False: there is no room. One message always finds room in an empty lane, whatever its size.
    /// `connection`: which it is bound to; 0: none. `deadline`: when it is late.
    [[nodiscard]] bool push(LinkId link, MessageKind kind, std::span<const std::byte> payload,
                            std::uint32_t connection, TimePoint deadline);

    /// Messages are numbered from 1 in the order in which they are accepted; this is none.
    static constexpr std::uint64_t no_number = UINT64_MAX;
    struct Taken {
        std::vector<Message> messages; ///< what may be written now, in order
        /// Of what was dropped since it was late, or bound to another connection; or no_number.
        std::uint64_t first_late = no_number, first_unsent = no_number;
    };
    /// All that was pushed. What it gives counts as being written until note_written() or
    /// note_failed().
    [[nodiscard]] Taken take(std::uint32_t connection, TimePoint now);
    /// What was taken is handed to the system.
    void note_written();
    /// What was taken cannot be written, or only in part. Gives the first of it, or no_number.
    std::uint64_t note_failed();
    /// What is bound to a connection, or `all`, is unsent. Gives the first of it, or no_number.
    std::uint64_t lose(bool all);
    /// The first that still waits or is being written; no_number: none does.
    [[nodiscard]] std::uint64_t first_open() const;

    [[nodiscard]] bool has_any() const noexcept { return has_any_.load(std::memory_order_seq_cst); }
    struct Counts {
        std::uint64_t accepted = 0, written = 0, written_bytes = 0, late = 0, unsent = 0;
        std::uint64_t queued = 0, queued_bytes = 0; ///< being written included
    };
    [[nodiscard]] Counts counts() const;

private:
    struct Waiting {
        Message message;
        std::uint32_t connection;
        TimePoint deadline;
        std::uint64_t number;
    };

    mutable std::mutex mutex_;
    std::vector<Waiting> waiting_;           // both: guarded by mutex_
    Counts counts_;                          // both: guarded by mutex_
    std::uint64_t writing_ = 0;              // both: guarded by mutex_; messages that were taken
    std::uint64_t writing_bytes_ = 0;        // both: guarded by mutex_
    std::uint64_t writing_from_ = no_number; // both: guarded by mutex_; the first of those
    std::atomic<bool> has_any_{false};       // both: atomic, written with mutex_ held
};

} // namespace sidecar::detail
