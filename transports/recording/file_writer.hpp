// FileWriter: appends entries to a recording, on a thread.
#pragma once

#include "format.hpp"

#include <sidecar/transports/detail/connection_recorder.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sidecar {

/// Side: any thread.
struct RecordingCounts::State {
    std::atomic<std::uint64_t> entries{0}, bytes{0}, lost{0}; // both: atomic
    std::atomic<std::uint64_t> unreported{0};                 // both: atomic; not yet in the file
    std::mutex mutex;
    std::optional<Failure> failure{}; // both: guarded by mutex
};

namespace recording {

/// Appends entries to one file: append() copies them into a buffer, and a thread writes blocks of
/// it, a second after the first entry at the latest. Entries are lost and counted while the buffer is
/// full, and after a failed write; the caller never waits for the disk. Owned by one connection, and by its
/// thread until that has written everything.
class FileWriter final {
public:
    using Kind = RecordingEntry::Kind;
    using Target = detail::RecordingTarget;

    /// Opens the file, cuts off a block that is not whole, and starts the thread.
    /// Errors: bad_options; is_passing() is true if the system refused, rather than the file be
    /// wrong. Blocks: while the system opens the file and reads its last block, or all headers if
    /// that one is not whole. Side: any thread.
    [[nodiscard]] static Result<std::shared_ptr<FileWriter>> open(const Target& target);
    /// Does the same without a thread, and closes the file.
    [[nodiscard]] static Result<void> check(const Target& target);

    FileWriter(const FileWriter&) = delete;
    FileWriter& operator=(const FileWriter&) = delete;
    ~FileWriter();

    /// Adds an entry: `head`, then `payload`. `flushes`: the thread writes at once. Side: the owner.
    void append(Kind kind, Duration time, Bytes head, Bytes payload, bool flushes) noexcept;
    /// Lets the thread write the rest and end; waits for that, for 250 ms at most. Side: the owner.
    void finish() noexcept;
    /// A write failed: all further entries are lost. Side: any thread.
    [[nodiscard]] bool has_failed() const noexcept { return has_failed_; }
    /// The number of bytes that open() cut off.
    [[nodiscard]] std::uint64_t cut_bytes() const noexcept { return cut_bytes_; }

private:
    explicit FileWriter(const Target& target)
        : target_{target}, write_bytes_{std::min(block_bytes, target.buffer_bytes / 2)}
    {
    }
    [[nodiscard]] Result<void> open_file();
    [[nodiscard]] Result<void> find_end(std::uint64_t file_bytes);
    [[nodiscard]] Result<bool> is_whole_at_end(std::uint64_t file_bytes) const;
    [[nodiscard]] Failure wrong(std::string why) const;
    [[nodiscard]] Failure refused(int error) const;
    [[nodiscard]] bool is_owned() const;
    [[nodiscard]] bool is_ending() const;
    void run() noexcept;
    void write(const std::vector<std::byte>& entries) noexcept;
    /// Takes entries for one block from the front.
    void write_block(Bytes& entries) noexcept;
    [[nodiscard]] int write_all(Bytes header, Bytes content) noexcept;
    void fail(int error) noexcept;
    /// `earlier`: the sum of `lost` entries that are lost now.
    void lose(std::uint64_t entry_count, std::uint64_t earlier = 0) noexcept;

    const Target target_;           // both: constant
    const std::size_t write_bytes_; // both: constant; with so many the thread writes at once
    Descriptor descriptor_{};       // the thread's, once it runs
    std::uint64_t device_ = 0;      // both: constant once it is open
    std::uint64_t inode_ = 0;       // both: constant once it is open
    std::uint64_t end_ = 0;         // the thread's: of the file
    std::uint64_t cut_bytes_ = 0;   // both: constant once it is open
    bool is_regular_ = false;       // both: constant once it is open
    std::thread thread_{};          // the owner's

    std::atomic<bool> has_failed_{false}; // both: atomic; written by the thread; the rest is lost

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<std::byte> open_{}; // both: guarded by mutex_; entries that are not written
    std::size_t writing_bytes_ = 0; // both: guarded by mutex_; what the thread has taken
    bool flushes_ = false;          // both: guarded by mutex_
    bool is_finishing_ = false;     // both: guarded by mutex_
    bool has_ended_ = false;        // both: guarded by mutex_; the file is closed
};

} // namespace recording
} // namespace sidecar
