// RecordingReader: reads a recording entry by entry.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/close_reason.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar {

/// The way in which a recorded connection, or an attempt to connect, ended.
enum class RecordedEnd : std::uint8_t {
    failed, ///< the connection failed, or the peer closed it; RecordingEntry::failure has the cause
    closed, ///< the recorded program closed it; the entry `closing` has the code
    dropped, ///< the recorded program dropped it: a stop without a close, a timeout, a silent peer
};

/// One entry of a recording. Fields of other kinds are empty. Lifetime: texts and the payload point
/// into the reader, until its next call.
struct RecordingEntry {
    enum class Kind : std::uint8_t {
        connecting = 1, ///< an attempt begins: endpoint
        connected = 2,  ///< it succeeded: peer, protocol
        received = 3,   ///< a message: message_kind, payload
        sent = 4,       ///< a message that the system took: message_kind, payload
        ping = 5,       ///< a ping that the system took: payload
        pong = 6,       ///< its answer: payload
        closing = 7,    ///< the recorded program begins to close: close
        ended = 8,      ///< the end of the connection or of the attempt: end, failure
        lost = 9,       ///< so many entries are missing here: lost
    };

    Kind kind{};
    /// Counted from 1 over the file; an attempt that fails does not use its number up.
    std::uint32_t connection = 0;
    Duration time{};                              ///< since the first entry of the file
    std::chrono::system_clock::time_point wall{}; ///< the same by the wall clock
    MessageKind message_kind = MessageKind::text;
    std::span<const std::byte> payload{};
    std::string_view endpoint{}; ///< of Recording's transport, without secrets
    std::string_view peer{};     ///< ConnectionInfo::peer
    std::string_view protocol{}; ///< ConnectionInfo::protocol
    CloseReason close{};
    RecordedEnd end{};
    std::optional<Failure> failure{};
    std::uint64_t lost = 0;

    /// The payload as text. Lifetime: as the payload.
    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char*>(payload.data()), payload.size()};
    }
};

/// Reads a recording from its beginning, one entry at a time. Holds one block of the file: 64 KiB,
/// or one larger message. Movable. Side: one thread at a time. Blocks: while the system reads.
class SIDECAR_API RecordingReader {
public:
    /// Opens a file and checks that it is a recording.
    /// Errors: bad_options (it cannot be read, it is no recording, a newer version wrote it).
    [[nodiscard]] static Result<RecordingReader> open(const std::string& file);
    RecordingReader(RecordingReader&&) noexcept;
    RecordingReader& operator=(RecordingReader&&) noexcept;
    ~RecordingReader();

    /// Returns the next entry; empty: the recording is over.
    /// Errors: protocol_violation (the file is truncated, or damaged, at offset()); every whole
    /// block before it was read. A further call returns the same error.
    [[nodiscard]] Result<std::optional<RecordingEntry>> next();
    /// The offset of the block that next() reads, in bytes from the beginning of the file.
    [[nodiscard]] std::uint64_t offset() const noexcept;

private:
    struct SIDECAR_LOCAL Impl;
    explicit RecordingReader(std::unique_ptr<Impl> impl) noexcept;
    std::unique_ptr<Impl> impl_; // app side
};

[[nodiscard]] SIDECAR_API std::string_view to_string(RecordingEntry::Kind kind) noexcept;

} // namespace sidecar
