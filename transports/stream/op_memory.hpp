// Memory for one asynchronous operation at a time, kept with the connection. Private to the
// transports.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <new>

namespace sidecar::stream {

/// Asio keeps the memory of ended operations for the thread's next ones, whichever fits: so an idle
/// link's pending read would sit in what its handshake, or another link's, needed. Side: the loop's
/// thread.
class OpMemory {
public:
    OpMemory() = default;
    OpMemory(const OpMemory&) = delete;
    OpMemory& operator=(const OpMemory&) = delete;

    [[nodiscard]] void* take(std::size_t bytes)
    {
        if (bytes > bytes_.size() || in_use_)
            return ::operator new(bytes);
        in_use_ = true;
        return bytes_.data();
    }
    void release(void* memory) noexcept
    {
        if (memory == bytes_.data())
            in_use_ = false;
        else
            ::operator delete(memory);
    }

private:
    alignas(std::max_align_t) std::array<std::byte, 288> bytes_;
    bool in_use_ = false;
};

/// For bind_allocator(). Holds the memory: an operation may outlive its connection, in the loop's
/// queue.
template <class T>
class OpAllocator {
public:
    using value_type = T;
    explicit OpAllocator(std::shared_ptr<OpMemory> memory) noexcept : memory_{std::move(memory)} {}
    template <class U>
    OpAllocator(const OpAllocator<U>& other) noexcept : memory_{other.memory_}
    {
    }
    [[nodiscard]] T* allocate(std::size_t count)
    {
        static_assert(alignof(T) <= alignof(std::max_align_t));
        return static_cast<T*>(memory_->take(count * sizeof(T)));
    }
    void deallocate(T* memory, std::size_t) noexcept { memory_->release(memory); }
    template <class U>
    friend bool operator==(const OpAllocator& a, const OpAllocator<U>& b) noexcept
    {
        return a.memory_ == b.memory_;
    }

private:
    template <class U>
    friend class OpAllocator;
    std::shared_ptr<OpMemory> memory_;
};

} // namespace sidecar::stream
