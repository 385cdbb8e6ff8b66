// StoredMessage: puts a message and its envelope together, as the queues store them.
#pragma once

#include <sidecar/envelope.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/send_options.hpp>

#include <boost/container/small_vector.hpp>

#include <cstddef>
#include <span>

namespace sidecar::detail {

[[nodiscard]] inline bool is_empty(const Envelope& envelope) noexcept
{
    return envelope.topic.empty() && envelope.reply_to.empty() && envelope.headers.empty()
           && envelope.acknowledgement.empty();
}
[[nodiscard]] inline Envelope envelope_of(const SendOptions& options) noexcept
{
    return {.topic = options.topic, .reply_to = options.reply_to, .headers = options.headers};
}

/// Errors: bad_message for a topic of more than 64 KiB, or headers of more than 4 GiB.
[[nodiscard]] Result<void> validate(const Envelope& envelope);

/// Returns the text that the library sends to `reply_to` once the application has taken the message;
/// empty: none.
[[nodiscard]] std::string_view acknowledgement_of(const MessageView& message) noexcept;

/// Side: any.
class StoredMessage {
public:
    /// The envelope must have passed validate(). Throws bad_alloc.
    StoredMessage(MessageKind kind, std::span<const std::byte> payload, const Envelope& envelope);

    /// Of each header, before its two texts.
    static constexpr std::size_t header_head_bytes = sizeof(Headers::Sizes);

    [[nodiscard]] StoredKind kind() const noexcept { return {kind_, true}; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    template <class Bytes>
    void append(const Bytes& bytes) noexcept;

    /// Most messages need no allocation here.
    static constexpr std::size_t usual_bytes = 2048;

    const MessageKind kind_;
    boost::container::small_vector<std::byte, usual_bytes> bytes_;
    std::byte* end_ = nullptr; // of what was appended
};

} // namespace sidecar::detail
