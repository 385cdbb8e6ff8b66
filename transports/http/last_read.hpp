// What the application's threads read of the environment, for the library's.
#pragma once

#include <mutex>
#include <utility>

namespace sidecar::http {

/// The last value that a thread of the application has read; getenv() may crash beside the
/// application's setenv(), so the library's threads ask here. One for each type, and never destroyed:
/// a thread that a stop left alone may ask when the process ends. Side: any thread.
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
