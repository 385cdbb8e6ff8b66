#include "simulation/memory.hpp"

#include "support/sanitized.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace simulation {
namespace {

std::atomic<std::size_t> in_use{0}, peak{0};
thread_local bool is_uncounted = false;

/// Before each block: its size, or 0 if it is not counted.
constexpr std::size_t header = alignof(std::max_align_t);

[[maybe_unused]] void* allocate(std::size_t size)
{
    auto* const block = static_cast<unsigned char*>(std::malloc(size + header));
    if (!block)
        throw std::bad_alloc{};
    const auto counted = is_uncounted ? 0 : size;
    *reinterpret_cast<std::size_t*>(block) = counted;
    const auto now = in_use.fetch_add(counted, std::memory_order_relaxed) + counted;
    if (counted != 0 && now > peak.load(std::memory_order_relaxed))
        peak.store(now, std::memory_order_relaxed);
    return block + header;
}

[[maybe_unused]] void release(void* pointer) noexcept
{
    if (!pointer)
        return;
    auto* const block = static_cast<unsigned char*>(pointer) - header;
    in_use.fetch_sub(*reinterpret_cast<std::size_t*>(block), std::memory_order_relaxed);
    std::free(block);
}

} // namespace

std::size_t memory_in_use() noexcept { return in_use.load(); }
std::size_t memory_peak() noexcept { return peak.load(); }
void reset_memory_peak() noexcept { peak.store(in_use.load()); }

Uncounted::Uncounted() noexcept : before_{is_uncounted} { is_uncounted = true; }
Uncounted::~Uncounted() { is_uncounted = before_; }

} // namespace simulation

// A sanitizer has operators of its own.
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)                                \
    && !__has_feature(thread_sanitizer) && !__has_feature(address_sanitizer)
void* operator new(std::size_t size) { return simulation::allocate(size); }
void* operator new[](std::size_t size) { return simulation::allocate(size); }
void operator delete(void* pointer) noexcept { simulation::release(pointer); }
void operator delete[](void* pointer) noexcept { simulation::release(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { simulation::release(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { simulation::release(pointer); }
#endif
