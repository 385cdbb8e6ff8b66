// Memory for large messages, which is reused: a stream of them would otherwise need fresh pages of
// the system each time.
#pragma once

#include <sidecar/message.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace sidecar::detail {

/// Hands out blocks and keeps those that return. Owned by the queue that takes from it, and by the
/// blocks that are out, since the application may keep a message for longer than the queue lives.
/// The pool does not know when a burst is over (a stream that stops and continues would need fresh
/// pages each time), so its queue calls trim(). Invariant: the bytes out and kept are together
/// within the limit, or nothing is kept. Side: both, guarded by its mutex, which is locked once to
/// take a block and once to return it.
class BlockPool final : public std::enable_shared_from_this<BlockPool> {
public:
    struct Limits {
        std::size_t total;          ///< bytes that are out or kept; above it nothing is kept
        std::size_t kept_when_idle; ///< bytes that trim() leaves
    };
    explicit BlockPool(Limits limits) : limits_{limits} { kept_.reserve(max_kept); }

    /// Returns a block of at least `bytes`. Throws bad_alloc.
    [[nodiscard]] Block take(std::size_t bytes);
    void release(std::byte* block, std::size_t capacity) noexcept;
    /// Whether trim() would free something.
    [[nodiscard]] bool has_surplus() const noexcept
    {
        return kept_bytes_.load(std::memory_order_relaxed) > limits_.kept_when_idle;
    }
    /// Frees kept blocks, the oldest first, until at most `kept_when_idle` bytes are kept.
    void trim() noexcept;
    [[nodiscard]] std::size_t kept_bytes() const noexcept
    {
        return kept_bytes_.load(std::memory_order_relaxed);
    }

private:
    struct Kept {
        std::unique_ptr<std::byte[]> block;
        std::size_t capacity = 0;
    };
    static constexpr std::size_t max_kept = 64; // blocks

    [[nodiscard]] std::unique_ptr<std::byte[]> find(std::size_t capacity) noexcept;
    [[nodiscard]] std::unique_ptr<std::byte[]> remove(std::vector<Kept>::iterator at) noexcept;

    const Limits limits_;
    std::mutex mutex_;
    std::vector<Kept> kept_;                 // both: guarded by mutex_; the latest last
    std::atomic<std::size_t> kept_bytes_{0}; // both: atomic, written with mutex_ held
    std::size_t out_bytes_ = 0;              // both: guarded by mutex_
};

} // namespace sidecar::detail
