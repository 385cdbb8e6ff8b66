// Where the fragments of a message are put together, or what they inflate to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>

namespace sidecar::websocket {

/// Bytes that grow by parts, owned by a Receiver. Invariant: the memory is at most twice what has
/// been appended since the last clear(), or kept_bytes. It grows by realloc, which moves large
/// memory without copying it.
class Assembly {
public:
    /// Memory that stays for the next message; more is given back.
    static constexpr std::size_t kept_bytes = 4096;

    void append(std::span<const std::byte> bytes)
    {
        if (bytes.size() > capacity_ - size_) [[unlikely]]
            grow(bytes.size());
        if (!bytes.empty())
            std::memcpy(memory_.get() + size_, bytes.data(), bytes.size());
        size_ += bytes.size();
    }
    /// Room for at least one more byte, for whoever fills it and says so by commit(): all that there
    /// is, or as much again as there are bytes, but for no more than `max_bytes`, not zero, in all.
    [[nodiscard]] std::span<std::byte> prepare(std::size_t max_bytes)
    {
        if (size_ == capacity_) [[unlikely]]
            resize(std::min(std::max(size_ * 2, kept_bytes), max_bytes));
        return {memory_.get() + size_, std::min(capacity_, max_bytes) - size_};
    }
    void commit(std::size_t bytes) noexcept { size_ += bytes; }
    void clear() noexcept
    {
        size_ = 0;
        if (capacity_ > kept_bytes) {
            memory_.reset();
            capacity_ = 0;
        }
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
    {
        return {memory_.get(), size_};
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    void grow(std::size_t more) { resize(std::max({size_ + more, size_ * 2, std::size_t{256}})); }
    void resize(std::size_t wanted)
    {
        auto* grown = static_cast<std::byte*>(std::realloc(memory_.get(), wanted));
        if (!grown)
            throw std::bad_alloc{};
        (void)memory_.release();
        memory_.reset(grown);
        capacity_ = wanted;
    }
    struct Free {
        void operator()(std::byte* memory) const noexcept { std::free(memory); }
    };

    std::unique_ptr<std::byte[], Free> memory_; // sidecar side
    std::size_t size_ = 0;                      // sidecar side
    std::size_t capacity_ = 0;                  // sidecar side
};

} // namespace sidecar::websocket
