// State of a Feed::call(): the result of its coroutine, or the reason that there is none.
#pragma once

#include <sidecar/context.hpp>
#include <sidecar/task.hpp>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace sidecar::detail {

template <class F>
inline constexpr bool gives_task = [] {
    if constexpr (std::is_invocable_v<F&, Context>)
        return is_task<std::invoke_result_t<F&, Context>>;
    else
        return false;
}();

/// Makes the user's coroutine, after its Context. Side: sidecar.
using TaskFactory = std::function<Task<>(Context)>;

/// Records a coroutine's end. The caller and the loop share it, because a caller may give up before
/// the coroutine ends.
struct CallState {
    std::atomic<bool> done{false}; // both: atomic; publishes the rest
    std::exception_ptr exception;  // both: written before done
    bool was_stopped = false;      // both: written before done
};

/// Adds the coroutine's value.
template <class Value>
struct ValueState : CallState {
    std::optional<std::conditional_t<std::is_void_v<Value>, std::monostate, Value>>
        value; // both: written before done
};

template <class Value>
Task<> keep_result(std::shared_ptr<ValueState<Value>> state, Task<Value> task)
{
    if constexpr (std::is_void_v<Value>)
        co_await std::move(task);
    else
        state->value.emplace(co_await std::move(task));
}

} // namespace sidecar::detail
