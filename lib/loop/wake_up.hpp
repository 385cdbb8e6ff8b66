// A wake-up of the loop that allocates nothing, for callers that must not fail.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <new>
#include <utility>

namespace sidecar::detail {

/// Calls one function on the loop's thread soon after schedule(), once for several schedule()
/// calls. The queued handler uses this object's memory. Owned by the loop.
class WakeUp {
public:
    /// Lifetime: this object outlives the handlers of `io`.
    WakeUp(boost::asio::io_context& io, std::function<void()> function)
        : io_{io}, function_{std::move(function)}
    {
    }
    WakeUp(const WakeUp&) = delete;
    WakeUp& operator=(const WakeUp&) = delete;

    /// Schedules a call. Allocates nothing. Side: any.
    void schedule() noexcept
    {
        if (!is_scheduled_.exchange(true))
            boost::asio::post(io_, Handler{this});
    }

private:
    struct Storage {
        alignas(std::max_align_t) std::byte bytes[160];
    };
    template <class T>
    struct Allocator {
        using value_type = T;
        explicit Allocator(Storage& its_storage) noexcept : storage{&its_storage} {}
        template <class U>
        Allocator(const Allocator<U>& other) noexcept : storage{other.storage}
        {
        }
        [[nodiscard]] T* allocate(std::size_t count)
        {
            static_assert(sizeof(T) <= sizeof(Storage));
            if (count != 1)
                throw std::bad_alloc{}; // Asio asks for one object
            return reinterpret_cast<T*>(storage->bytes);
        }
        void deallocate(T*, std::size_t) noexcept {}
        template <class U>
        friend bool operator==(const Allocator& a, const Allocator<U>& b) noexcept
        {
            return a.storage == b.storage;
        }
        Storage* storage;
    };
    struct Handler {
        using allocator_type = Allocator<std::byte>;
        [[nodiscard]] allocator_type get_allocator() const noexcept
        {
            return allocator_type{wake_up->storage_};
        }
        void operator()() const
        {
            // Asio frees the storage before it runs the handler. An exchange: the function sees all
            // that was written before a schedule() that relied on this call.
            wake_up->is_scheduled_.exchange(false);
            wake_up->function_();
        }
        WakeUp* wake_up;
    };

    boost::asio::io_context& io_;           // both
    const std::function<void()> function_;  // sidecar side
    std::atomic<bool> is_scheduled_{false}; // both: atomic
    Storage storage_;                       // both: the thread that scheduled it, then the loop
};

} // namespace sidecar::detail
