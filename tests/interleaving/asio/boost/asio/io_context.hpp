// What lib/loop/wake_up.hpp uses of Asio, in few operations: a queue of handlers, each in memory of
// its own allocator, which is free again before the handler runs.
#pragma once

#include "base/notify_fd.hpp"
#include "explorer.hpp"

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace boost::asio {

class io_context {
public:
    template <class Handler>
    void post(Handler handler)
    {
        using Queued = Derived<Handler>;
        typename std::allocator_traits<typename Handler::allocator_type>::template rebind_alloc<
            Queued>
            allocator{handler.get_allocator()};
        auto* queued = ::new (allocator.allocate(1)) Queued{std::move(handler)};
        std::lock_guard lock{mutex_};
        queue_.push_back(queued);
        ready_.raise();
    }
    void run_one()
    {
        explorer::wait_readable(ready_.get());
        Base* first = nullptr;
        {
            std::lock_guard lock{mutex_};
            first = queue_.front();
            queue_.erase(queue_.begin());
            if (queue_.empty())
                ready_.lower();
        }
        first->run();
    }

private:
    struct Base {
        virtual ~Base() = default;
        virtual void run() = 0;
    };
    template <class Handler>
    struct Derived final : Base {
        explicit Derived(Handler its_handler) : handler{std::move(its_handler)} {}
        void run() override
        {
            const auto taken = handler;
            this->~Derived();
            taken();
        }
        Handler handler;
    };

    sidecar::detail::NotifyFd ready_;
    std::mutex mutex_;
    std::vector<Base*> queue_;
};

} // namespace boost::asio
