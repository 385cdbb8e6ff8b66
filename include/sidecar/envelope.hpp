// Envelope: what a message carries beside its payload.
#pragma once

#include <sidecar/detail/export.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string_view>

namespace sidecar {

namespace detail {
class StoredMessage;
}

/// One header of a message. Lifetime: borrows both texts.
struct Header {
    std::string_view name{}, value{};
    friend bool operator==(const Header&, const Header&) = default;
};

/// The parts of a message beside its payload, if its transport's protocol has such. Its bytes count
/// as a part of the message's size in all bounds and counts. Lifetime: borrows everything, so use it
/// as a parameter only.
struct Envelope {
    std::string_view topic{}; ///< what the message is about, as the protocol names it; empty: none
    std::string_view reply_to{}; ///< the topic for an answer; empty: none
    std::span<const Header> headers{};
    /// For Sink::put(). Once the application has taken the message, the library sends this text to
    /// `reply_to` on the same link. Empty: it sends nothing.
    std::string_view acknowledgement{};
};

/// The headers of a message, in order; a name may be repeated. Lifetime: as the message.
class Headers {
    struct Sizes {
        std::uint32_t name, value;
    };

public:
    class iterator {
    public:
        using value_type = Header;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        [[nodiscard]] Header operator*() const noexcept
        {
            const auto sizes = sizes_here();
            const auto* text = at_ + sizeof(Sizes);
            return {{text, sizes.name}, {text + sizes.name, sizes.value}};
        }
        iterator& operator++() noexcept
        {
            const auto sizes = sizes_here();
            at_ += sizeof(Sizes) + sizes.name + sizes.value;
            return *this;
        }
        iterator operator++(int) noexcept
        {
            auto old = *this;
            ++*this;
            return old;
        }
        friend bool operator==(const iterator&, const iterator&) = default;

    private:
        friend class Headers;
        explicit iterator(const char* at) noexcept : at_{at} {}
        [[nodiscard]] Sizes sizes_here() const noexcept
        {
            Sizes sizes;
            std::memcpy(&sizes, at_, sizeof sizes);
            return sizes;
        }
        const char* at_ = nullptr;
    };

    Headers() noexcept = default;
    /// For the library: shows headers that it has stored.
    explicit Headers(std::string_view stored) noexcept : stored_{stored} {}

    [[nodiscard]] iterator begin() const noexcept { return iterator{stored_.data()}; }
    [[nodiscard]] iterator end() const noexcept
    {
        return iterator{stored_.data() + stored_.size()};
    }
    [[nodiscard]] bool empty() const noexcept { return stored_.empty(); }
    /// Returns the value of the first header with this name, in any case; empty: there is none.
    [[nodiscard]] SIDECAR_API std::string_view find(std::string_view name) const noexcept;

private:
    friend class detail::StoredMessage;
    std::string_view stored_; // each header: its Sizes, its name, its value
};

} // namespace sidecar
