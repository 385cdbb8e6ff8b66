// Memory for large messages, used again: a stream of them would otherwise pay the system for fresh
// pages each time.
#pragma once

#include <sidecar/message.hpp>

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace sidecar::detail {

/// Hands out blocks and takes them back; keeps at most `kept_bytes` of those it got back. Side:
/// both, guarded by its mutex, which is taken once for each large message.
class BlockPool final : public BlockHome, public std::enable_shared_from_this<BlockPool> {
public:
    explicit BlockPool(std::size_t kept_bytes) noexcept : limit_{kept_bytes} {}
    /// Throws bad_alloc.
    [[nodiscard]] Block take(std::size_t bytes);
    void give_back(std::byte* block, std::size_t capacity) noexcept override;

private:
    struct Free {
        std::unique_ptr<std::byte[]> block;
        std::size_t capacity;
    };
    const std::size_t limit_;
    std::mutex mutex_;
    std::vector<Free> free_;     // both: guarded by mutex_
    std::size_t free_bytes_ = 0; // both: guarded by mutex_
    std::size_t given_out_ = 0;  // both: guarded by mutex_; blocks
};

} // namespace sidecar::detail
