// Memory for large messages, used again: a stream of them would otherwise pay the system for fresh
// pages each time.
#pragma once

#include <sidecar/message.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace sidecar::detail {

/// Hands out blocks and keeps those it gets back. Owned by the queue that takes from it, and by the
/// blocks that are out, since the application may keep a message for longer than the queue lives.
/// It does not know when a burst is over (a stream that stops and goes would pay for fresh pages each
/// time), so its queue tells it by trim(). Invariant: what is out and what is kept is together within
/// the limit, or nothing is kept. Side: both, guarded by its mutex, which is taken once for each large
/// message.
class BlockPool final : public std::enable_shared_from_this<BlockPool> {
public:
    struct Limits {
        std::size_t total;          ///< bytes that are out or kept; above it nothing is kept
        std::size_t kept_when_idle; ///< bytes that trim() leaves
    };
    explicit BlockPool(Limits limits) : limits_{limits} { kept_.reserve(most_kept); }

    /// Throws bad_alloc.
    [[nodiscard]] Block take(std::size_t bytes);
    void give_back(std::byte* block, std::size_t capacity) noexcept;
    /// Whether trim() would free something.
    [[nodiscard]] bool has_surplus() const noexcept
    {
        return kept_bytes_.load(std::memory_order_relaxed) > limits_.kept_when_idle;
    }
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
    static constexpr std::size_t most_kept = 64; // blocks

    [[nodiscard]] std::unique_ptr<std::byte[]> find(std::size_t capacity) noexcept;
    [[nodiscard]] std::unique_ptr<std::byte[]> remove(std::vector<Kept>::iterator at) noexcept;

    const Limits limits_;
    std::mutex mutex_;
    std::vector<Kept> kept_;                 // both: guarded by mutex_; the latest last
    std::atomic<std::size_t> kept_bytes_{0}; // both: atomic, written with mutex_ held
    std::size_t out_bytes_ = 0;              // both: guarded by mutex_
};

} // namespace sidecar::detail
