#include "queue/stored_message.hpp"

#include "base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace sidecar {

std::string_view Headers::find(std::string_view name) const noexcept
{
    const auto at = std::find_if(begin(), end(), [&](const Header& header) {
        return detail::equal_in_any_case(header.name, name);
    });
    return at == end() ? std::string_view{} : (*at).value;
}

} // namespace sidecar

namespace sidecar::detail {
namespace {

std::size_t headers_bytes(const Envelope& envelope) noexcept
{
    std::size_t bytes = 0;
    for (const auto& [name, value] : envelope.headers)
        bytes += StoredMessage::header_head_bytes + name.size() + value.size();
    return bytes;
}

Result<void> validate_text(const char* name, std::string_view text)
{
    if (text.size() <= UINT16_MAX)
        return {};
    return Failure{Error::bad_message,
                   {.attempted = "send",
                    .explanation = fmt::format("{} has {} bytes; it may have {}", name, text.size(),
                                               UINT16_MAX)}};
}

} // namespace

Result<void> validate(const Envelope& envelope)
{
    if (auto valid = validate_text("the topic", envelope.topic); !valid)
        return valid;
    if (auto valid = validate_text("reply_to", envelope.reply_to); !valid)
        return valid;
    if (auto valid = validate_text("the acknowledgement", envelope.acknowledgement); !valid)
        return valid;
    if (headers_bytes(envelope) > UINT32_MAX)
        return Failure{Error::bad_message,
                       {.attempted = "send", .explanation = "the headers are too large"}};
    return {};
}

std::string_view acknowledgement_of(const MessageView& message) noexcept
{
    const Stored stored{message};
    if (!stored.kind.has_envelope())
        return {};
    EnvelopeSizes sizes;
    const auto* const end = stored.bytes.data() + stored.bytes.size() - sizeof sizes;
    std::memcpy(static_cast<void*>(&sizes), end, sizeof sizes);
    return {reinterpret_cast<const char*>(end) - sizes.acknowledgement, sizes.acknowledgement};
}

template <class Bytes>
void StoredMessage::append(const Bytes& bytes) noexcept
{
    if (!bytes.empty())
        std::memcpy(end_, bytes.data(), bytes.size());
    end_ += bytes.size();
}

StoredMessage::StoredMessage(MessageKind kind, std::span<const std::byte> payload,
                             const Envelope& envelope)
    : kind_{kind}
{
    const EnvelopeSizes sizes{.headers = static_cast<std::uint32_t>(headers_bytes(envelope)),
                              .topic = static_cast<std::uint16_t>(envelope.topic.size()),
                              .reply_to = static_cast<std::uint16_t>(envelope.reply_to.size()),
                              .acknowledgement =
                                  static_cast<std::uint16_t>(envelope.acknowledgement.size())};
    bytes_.resize(payload.size() + sizes.total(), boost::container::default_init);
    end_ = bytes_.data();
    append(payload);
    for (const auto& [name, value] : envelope.headers) {
        const Headers::Sizes its{static_cast<std::uint32_t>(name.size()),
                                 static_cast<std::uint32_t>(value.size())};
        append(std::as_bytes(std::span{&its, 1}));
        append(name);
        append(value);
    }
    append(envelope.topic);
    append(envelope.reply_to);
    append(envelope.acknowledgement);
    append(std::as_bytes(std::span{&sizes, 1}));
}

} // namespace sidecar::detail
