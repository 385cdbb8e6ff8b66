// ConnectionRecorder: the part of Recording<T> that does not depend on T.
#pragma once

#include <sidecar/batch.hpp>
#include <sidecar/close_reason.hpp>
#include <sidecar/connection_info.hpp>
#include <sidecar/context.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/sink.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace sidecar {

/// Counts of a recording. Copies count the same recording. Side: any thread. Blocks: never.
class SIDECAR_API RecordingCounts {
public:
    RecordingCounts();
    /// Returns how many entries and bytes the system has taken.
    [[nodiscard]] std::uint64_t entries() const noexcept;
    [[nodiscard]] std::uint64_t bytes() const noexcept;
    /// Returns how many entries are missing in the file, because the disk was too slow or full.
    [[nodiscard]] std::uint64_t lost() const noexcept;
    /// Returns why nothing is recorded at present; empty: all is well.
    [[nodiscard]] std::optional<Failure> failure() const;

    /// Side: the library.
    struct SIDECAR_LOCAL State;
    [[nodiscard]] const std::shared_ptr<State>& state() const noexcept { return state_; }

private:
    std::shared_ptr<State> state_; // both: see its members
};

namespace detail {

struct RecordingTarget {
    std::string file{};
    std::size_t buffer_bytes = 0;
    std::string endpoint{};
    bool is_virtual = false;
    RecordingCounts counts{};
};
/// Opens the file as a recording does, and closes it again.
[[nodiscard]] SIDECAR_API Result<void> check_recording(const RecordingTarget& target);

/// Records one connection. Its calls come in the order of the transport's; a failure to record
/// never fails one of them, except begin(). Owned by its Recording<T>. Side: the loop's thread.
class SIDECAR_API ConnectionRecorder {
public:
    explicit ConnectionRecorder(RecordingTarget target);
    ConnectionRecorder(const ConnectionRecorder&) = delete;
    ConnectionRecorder& operator=(const ConnectionRecorder&) = delete;
    /// Records the end, unless it is recorded. Blocks: until the system has the recording, at most
    /// 250 ms.
    ~ConnectionRecorder();

    /// Opens the file. Returns the context for the transport's connect. Throws Exception
    /// (bad_options) if the file cannot be a recording, or another link records into it; anything
    /// else that the system refuses is logged, and nothing is recorded.
    [[nodiscard]] Context begin(Context ctx);
    void connected(const ConnectionInfo& info) noexcept;
    /// Called in the handler of what connect, or read, threw.
    void connect_failed() noexcept;
    void read_failed() noexcept;
    /// Called in the handler of what write, or ping, threw.
    void write_failed() noexcept;
    void closing(const CloseReason& reason) noexcept;
    void aborted() noexcept;
    void pinged(std::span<const std::byte> payload) noexcept;

    /// Returns the sink for the transport. Lifetime: as this object; `sink`: until the next call.
    [[nodiscard]] Sink& watch(Sink& sink) noexcept;
    /// Returns the batch for the transport. Lifetime: until the next call.
    [[nodiscard]] Batch watch(Batch batch);
    /// The transport has written the batch.
    void written() noexcept;

private:
    struct SIDECAR_LOCAL Impl;
    std::unique_ptr<Impl> impl_; // sidecar side
};

} // namespace detail
} // namespace sidecar
