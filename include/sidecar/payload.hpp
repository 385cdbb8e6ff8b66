// Payload: what send() takes.
#pragma once

#include <sidecar/message.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <string_view>
#include <type_traits>

namespace sidecar {

namespace detail {

template <class T>
concept TextLike = std::convertible_to<const T&, std::string_view>
                   || std::convertible_to<const T&, std::u8string_view>;

/// Contiguous, sized, and each element is one byte.
template <class T>
concept ByteRange = requires(const T& range) {
    std::span{range};
    requires sizeof(*std::span{range}.data()) == 1;
    requires std::is_trivially_copyable_v<typename decltype(std::span{range})::value_type>;
};

} // namespace detail

/// The kind and the bytes of a message to send. Made implicitly, from
/// - text: std::string, std::string_view, const char*, their char8_t forms, and all that converts
///   to a string_view. An array of char is text up to its first zero;
/// - bytes: every other contiguous range with elements of one byte, such as
///   std::vector<std::uint8_t>, std::array<char, 4>, std::span<const std::byte>;
/// - a Message or a MessageView: with its kind.
/// Lifetime: borrows the bytes, so use it as a parameter only.
class Payload {
public:
    Payload(const MessageView& message) noexcept // NOLINT: implicit, like all here
        : kind_{message.kind()}, bytes_{message.bytes()}
    {
    }
    Payload(const Message& message) noexcept : Payload{message.view()} {} // NOLINT
    template <class T>
        requires(!std::same_as<T, std::nullptr_t>)
    Payload(const T& payload) // NOLINT
    {
        constexpr bool is_bytes =
            detail::ByteRange<T> || std::convertible_to<const T&, std::span<const std::byte>>;
        static_assert(detail::TextLike<T> || is_bytes,
                      "send() takes text, a contiguous range with elements of one byte, or a "
                      "sidecar::Message; for other ranges: std::as_bytes(std::span{range})");
        if constexpr (std::is_array_v<T> && detail::TextLike<T>)
            set_text(until_zero(payload));
        else if constexpr (std::convertible_to<const T&, std::string_view>)
            set_text(std::string_view{payload});
        else if constexpr (detail::TextLike<T>)
            set_text(std::u8string_view{payload});
        else if constexpr (detail::ByteRange<T>)
            bytes_ = std::as_bytes(std::span{payload});
        else if constexpr (is_bytes)
            bytes_ = payload;
    }
    /// Of send({pointer, size}) and send({first, last}): text if the elements are char. Two
    /// literals are no range.
    template <class First, class Last>
        requires(!std::is_pointer_v<Last>)
                && (std::constructible_from<std::string_view, First, Last>
                    || std::constructible_from<std::span<const std::byte>, First, Last>
                    || std::constructible_from<std::span<const unsigned char>, First, Last>)
    Payload(First first, Last last)
    {
        if constexpr (std::constructible_from<std::string_view, First, Last>)
            set_text(std::string_view(first, last));
        else if constexpr (std::constructible_from<std::span<const std::byte>, First, Last>)
            bytes_ = std::span<const std::byte>(first, last);
        else
            bytes_ = std::as_bytes(std::span<const unsigned char>(first, last));
    }

    [[nodiscard]] MessageKind kind() const noexcept { return kind_; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
    /// The bytes as characters, whatever the kind.
    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
    }

private:
    template <class Char, std::size_t size>
    static std::basic_string_view<Char> until_zero(const Char (&text)[size]) noexcept
    {
        const auto* end = std::char_traits<Char>::find(text, size, Char{});
        return {text, end ? static_cast<std::size_t>(end - text) : size};
    }
    template <class Char>
    void set_text(std::basic_string_view<Char> text) noexcept
    {
        kind_ = MessageKind::text;
        bytes_ = std::as_bytes(std::span{text});
    }

    MessageKind kind_ = MessageKind::binary;
    std::span<const std::byte> bytes_;
};

} // namespace sidecar
