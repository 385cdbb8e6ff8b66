// A borrowed reference to the callable given to poll(); unlike std::function it never allocates.
#pragma once

#include <sidecar/message.hpp>

#include <memory>
#include <type_traits>

namespace sidecar::detail {

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
