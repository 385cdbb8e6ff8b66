#include "loop/posted.hpp"

#include <boost/asio/post.hpp>

#include <new>
#include <utility>

namespace sidecar::detail {

/// Gives out the storage, of which the loop's one handler is the only user.
template <class T>
struct Posted::Allocator {
    using value_type = T;
    explicit Allocator(Storage& its_storage) noexcept : storage{&its_storage} {}
    template <class U>
    Allocator(const Allocator<U>& other) noexcept : storage{other.storage}
    {
    }
    [[nodiscard]] T* allocate(std::size_t count)
    {
        if (count * sizeof(T) <= sizeof(Storage))
            return reinterpret_cast<T*>(storage->bytes);
        return static_cast<T*>(::operator new(count * sizeof(T)));
    }
    void deallocate(T* memory, std::size_t) noexcept
    {
        if (reinterpret_cast<std::byte*>(memory) != storage->bytes)
            ::operator delete(memory);
    }
    template <class U>
    friend bool operator==(const Allocator& a, const Allocator<U>& b) noexcept
    {
        return a.storage == b.storage;
    }
    Storage* storage;
};

struct Posted::Handler {
    using allocator_type = Allocator<std::byte>;
    [[nodiscard]] allocator_type get_allocator() const noexcept
    {
        return allocator_type{posted->storage_};
    }
    void operator()() const { posted->runner_.run_posted(); }
    Posted* posted;
};

void Posted::schedule() { boost::asio::post(io_, Handler{this}); }

void Posted::post(std::function<void()> function)
{
    {
        std::lock_guard lock{mutex_};
        if (state_ == State::closed)
            return;
        queued_.push_back(std::move(function));
        if (state_ != State::idle)
            return;
        state_ = State::scheduled;
    }
    schedule();
}

void Posted::open()
{
    std::lock_guard lock{mutex_};
    if (state_ != State::waiting)
        return;
    state_ = State::scheduled;
    schedule();
}

void Posted::wake()
{
    {
        std::lock_guard lock{mutex_};
        if (state_ != State::idle)
            return;
        state_ = State::scheduled;
    }
    schedule();
}

std::vector<std::function<void()>>& Posted::take()
{
    std::lock_guard lock{mutex_};
    taken_.swap(queued_);
    return taken_;
}

void Posted::done()
{
    constexpr std::size_t kept = 1024; // of a burst's memory
    taken_.clear();
    if (taken_.capacity() > kept)
        taken_ = {};
    {
        std::lock_guard lock{mutex_};
        if (queued_.empty()) {
            state_ = State::idle;
            return;
        }
    }
    schedule();
}

void Posted::close() noexcept
{
    std::vector<std::function<void()>> queued; // freed outside the lock: some of it is the user's
    {
        std::lock_guard lock{mutex_};
        state_ = State::closed;
        queued.swap(queued_);
    }
    taken_.clear();
}

} // namespace sidecar::detail
