// The usual handoff from an I/O thread to the application: a mutex, a condition variable, a queue
// of strings.
#pragma once

#include "../harness.hpp"

#include <condition_variable>
#include <mutex>
#include <queue>
#include <string>

namespace bench {

class HandoffQueue {
public:
    void push(std::string message)
    {
        {
            std::lock_guard lock{mutex_};
            messages_.push(std::move(message));
        }
        arrived_.notify_one();
    }
    [[nodiscard]] std::string pop()
    {
        std::unique_lock lock{mutex_};
        arrived_.wait(lock, [this] { return !messages_.empty(); });
        auto message = std::move(messages_.front());
        messages_.pop();
        return message;
    }
    template <class Handler>
    void pop_while(Handler&& handler)
    {
        for (;;) {
            const auto message = pop();
            if (!handler(bytes_of(message)))
                return;
        }
    }

private:
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::queue<std::string> messages_;
};

} // namespace bench
