// Messages: owned by the application (Message), or borrowed (MessageView).
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace sidecar {

/// Identifies a link of one sidecar: start() connects link 0; open() adds links 1, 2 and so on.
enum class LinkId : std::uint32_t {};

enum class MessageKind : std::uint8_t { text, binary };

namespace detail {
/// A connection's number shares a word with the kind, so it has 31 bits.
inline constexpr std::uint32_t connection_mask = 0x7fff'ffff;
} // namespace detail

/// A message that somebody else owns. It has Message's calls, so one handler serves both. Lifetime:
/// as the memory that it shows.
class MessageView {
public:
    MessageView() noexcept = default;
    MessageView(LinkId link, MessageKind kind, std::span<const std::byte> payload,
                std::uint32_t connection = 0, TimePoint arrival = {},
                std::uint64_t replaced = 0) noexcept
        : link_{link},
          is_bytes_{kind == MessageKind::binary},
          connection_{connection & detail::connection_mask},
          payload_{payload},
          arrival_{arrival},
          replaced_{replaced}
    {
    }

    [[nodiscard]] LinkId link() const noexcept { return link_; }
    [[nodiscard]] MessageKind kind() const noexcept
    {
        return is_bytes_ != 0 ? MessageKind::binary : MessageKind::text;
    }
    /// The number of the connection that received it, counted from 1 for each link; 0: not
    /// received.
    [[nodiscard]] std::uint32_t connection() const noexcept { return connection_; }
    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char*>(payload_.data()), payload_.size()};
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return payload_; }
    [[nodiscard]] std::size_t size() const noexcept { return payload_.size(); }
    /// When it arrived, on the sidecar's clock: the beginning of the loop iteration that read it.
    /// `feed.now() - message.arrival()` is its age. TimePoint{} for a message that is not from
    /// poll(), receive() or next_event().
    [[nodiscard]] TimePoint arrival() const noexcept { return arrival_; }
    /// How many older messages of its key it replaced (OverflowPolicy::conflate), while nobody took
    /// them.
    [[nodiscard]] std::uint64_t replaced() const noexcept { return replaced_; }

private:
    LinkId link_{};
    // Both in one word, so that they do not make a view larger
    std::uint32_t is_bytes_ : 1 = 1;
    std::uint32_t connection_ : 31 = 0;
    std::span<const std::byte> payload_;
    TimePoint arrival_{};
    std::uint64_t replaced_ = 0;
};

namespace detail {

class BlockPool;
class LinkQueue;

/// Releases a block. Side: any thread.
struct BlockReturn {
    std::shared_ptr<BlockPool> pool{}; ///< null: the block is freed
    std::size_t capacity = 0;
    SIDECAR_API void operator()(std::byte* block) const noexcept;
};
using Block = std::unique_ptr<std::byte[], BlockReturn>;

} // namespace detail

/// A message that the application owns. Up to `inline_bytes` of payload are in the object itself,
/// without allocation.
class Message {
public:
    static constexpr std::size_t inline_bytes = 96;

    Message() noexcept = default;
    explicit Message(const MessageView& view)
        : link_{view.link()},
          is_bytes_{view.kind() == MessageKind::binary},
          connection_{view.connection() & detail::connection_mask},
          size_{view.size()},
          arrival_{view.arrival()},
          replaced_{view.replaced()}
    {
        if (size_ > inline_bytes)
            block_.reset(new std::byte[size_]);
        if (size_ != 0)
            std::memcpy(block_ ? block_.get() : inline_, view.bytes().data(), size_);
    }
    /// Takes over a block that already holds the payload.
    Message(LinkId link, MessageKind kind, detail::Block block, std::size_t size,
            std::uint32_t connection = 0, TimePoint arrival = {}) noexcept
        : link_{link},
          is_bytes_{kind == MessageKind::binary},
          connection_{connection & detail::connection_mask},
          size_{size},
          arrival_{arrival},
          block_{std::move(block)}
    {
    }
    Message(Message&& other) noexcept { *this = std::move(other); }
    Message& operator=(Message&& other) noexcept
    {
        link_ = other.link_;
        is_bytes_ = other.is_bytes_;
        connection_ = other.connection_;
        size_ = std::exchange(other.size_, 0);
        arrival_ = other.arrival_;
        replaced_ = other.replaced_;
        block_ = std::move(other.block_);
        if (!block_)
            std::memcpy(inline_, other.inline_, size_);
        return *this;
    }

    [[nodiscard]] LinkId link() const noexcept { return link_; }
    [[nodiscard]] MessageKind kind() const noexcept { return view().kind(); }
    /// See MessageView::connection.
    [[nodiscard]] std::uint32_t connection() const noexcept { return connection_; }
    /// The payload as text. Lifetime: until the message is moved from, assigned or destroyed.
    [[nodiscard]] std::string_view text() const noexcept { return view().text(); }
    /// The payload as bytes. Lifetime: as text().
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return view().bytes(); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// See MessageView::arrival.
    [[nodiscard]] TimePoint arrival() const noexcept { return arrival_; }
    /// See MessageView::replaced.
    [[nodiscard]] std::uint64_t replaced() const noexcept { return replaced_; }
    [[nodiscard]] MessageView view() const noexcept
    {
        return {link_,
                is_bytes_ != 0 ? MessageKind::binary : MessageKind::text,
                {block_ ? block_.get() : inline_, size_},
                connection_,
                arrival_,
                replaced_};
    }
    /// For any stream, so that test frameworks can show a Result<Message>.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const Message& message)
    {
        stream << message.text();
        return stream;
    }

private:
    friend class detail::LinkQueue; // counts what the message replaces

    LinkId link_{};
    std::uint32_t is_bytes_ : 1 = 1;
    std::uint32_t connection_ : 31 = 0;
    std::size_t size_ = 0;
    TimePoint arrival_{};
    std::uint64_t replaced_ = 0;
    detail::Block block_;
    std::byte inline_[inline_bytes];
};

} // namespace sidecar
