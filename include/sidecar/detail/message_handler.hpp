// A borrowed reference to the callable given to poll(); unlike std::function it never allocates.
#pragma once

#include <sidecar/message.hpp>
#include <sidecar/task.hpp>

#include <memory>
#include <type_traits>

namespace sidecar::detail {

/// Checks a handler's type, so that the compiler's first error names the mistake.
template <class F>
inline constexpr bool is_message_handler = [] {
    static_assert(std::is_invocable_v<F&, const MessageView&>,
                  "poll() takes a handler that can be called with const sidecar::MessageView&");
    if constexpr (std::is_invocable_v<F&, const MessageView&>)
        static_assert(!is_task<std::invoke_result_t<F&, const MessageView&>>,
                      "poll() takes a handler that is a plain function: a coroutine would not run");
    return true;
}();

/// Lifetime: the callable outlives it.
class MessageHandler {
public:
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, MessageHandler>)
    MessageHandler(F& callable) noexcept // NOLINT: implicit, it is a reference
        : object_{const_cast<void*>(static_cast<const void*>(std::addressof(callable)))},
          call_{
              [](void* object, const MessageView& message) { (*static_cast<F*>(object))(message); }}
    {
    }
    void operator()(const MessageView& message) const { call_(object_, message); }

private:
    void* object_;
    void (*call_)(void*, const MessageView&);
};

} // namespace sidecar::detail
