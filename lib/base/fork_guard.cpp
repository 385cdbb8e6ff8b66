#include "base/fork_guard.hpp"

#include <atomic>
#include <pthread.h>

namespace sidecar::detail {
namespace {

std::atomic<std::uint64_t> forks{0};

} // namespace

std::uint64_t fork_generation() noexcept
{
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
    (void)registered;
    return forks.load(std::memory_order_relaxed);
}

bool has_forked_since(std::uint64_t generation) noexcept
{
    return forks.load(std::memory_order_relaxed) != generation;
}

} // namespace sidecar::detail
