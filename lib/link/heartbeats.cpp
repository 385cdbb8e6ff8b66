#include "link/heartbeats.hpp"

#include <exception>
#include <string_view>
#include <utility>

namespace sidecar::detail {

Heartbeats::Heartbeats(Heartbeat heartbeat, Journal& journal, std::function<void()> on_answer)
    : heartbeat_{std::move(heartbeat)}, journal_{journal}, on_answer_{std::move(on_answer)}
{
}

bool Heartbeats::put(MessageKind kind, std::span<const std::byte> payload)
{
    if (payload.size() <= largest_answer && is_answer({{}, kind, payload})) {
        inbox_->note_bytes(); // of a transport that does not say it itself
        on_answer_();
        if (!heartbeat_.keeps_answers)
            return true;
    }
    return inbox_->put(kind, payload);
}

/// What is received in place cannot be taken out any more.
std::span<std::byte> Heartbeats::prepare(std::size_t payload_bytes)
{
    if (heartbeat_.is_answer && payload_bytes <= largest_answer)
        return {};
    return inbox_->prepare(payload_bytes);
}

bool Heartbeats::is_answer(const MessageView& message)
{
    if (!heartbeat_.is_answer)
        return false;
    try {
        return heartbeat_.is_answer(message);
    } catch (...) {
        journal_.record(to_failure(std::current_exception(), Error::callback_failed,
                                   "recognise the answer to a heartbeat", {}));
        return false;
    }
}

} // namespace sidecar::detail
