// Passes values from the environment from application threads to the library's threads.
#pragma once

#include <mutex>
#include <utility>

namespace sidecar::http {

/// The last value that an application thread has read. The library's threads take it from here,
/// since getenv() may crash beside the application's setenv(). One for each type. Never destroyed:
/// a thread that a stop left running may use it when the process ends. Side: any thread.
template <class T>
class LastRead {
public:
    static void set(T value)
    {
        auto& only = instance();
        const std::lock_guard lock{only.mutex_};
        only.value_ = std::move(value);
    }
    [[nodiscard]] static T get()
    {
        auto& only = instance();
        const std::lock_guard lock{only.mutex_};
        return only.value_;
    }

private:
    static LastRead& instance()
    {
        static auto& only = *new LastRead;
        return only;
    }

    std::mutex mutex_;
    T value_{}; // both: guarded by mutex_
};

} // namespace sidecar::http
