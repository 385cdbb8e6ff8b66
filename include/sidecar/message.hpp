// Messages: owned by the application (Message), or borrowed (MessageView).
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/envelope.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace sidecar {

namespace detail {
struct Stored;
}

/// Identifies a link of one sidecar: start() connects link 0; open() adds links 1, 2 and so on.
enum class LinkId : std::uint32_t {};

enum class MessageKind : std::uint8_t { text, binary };

namespace detail {

/// A connection's number shares a word with the kind, so it has 30 bits.
inline constexpr std::uint32_t connection_mask = 0x3fff'ffff;

/// The kind of a message, and whether its envelope follows its payload, as queues store it.
struct StoredKind {
    constexpr StoredKind() noexcept = default;
    constexpr StoredKind(MessageKind kind, bool has_envelope = false) noexcept // NOLINT: implicit
        : bits{static_cast<std::uint8_t>(static_cast<unsigned>(kind) | (has_envelope ? 2u : 0u))}
    {
    }
    /// Of the two bits, as a record holds them.
    [[nodiscard]] static constexpr StoredKind of(std::uint32_t two_bits) noexcept
    {
        StoredKind kind{MessageKind::text};
        kind.bits = static_cast<std::uint8_t>(two_bits & 3u);
        return kind;
    }
    [[nodiscard]] constexpr MessageKind kind() const noexcept
    {
        return static_cast<MessageKind>(bits & 1u);
    }
    [[nodiscard]] constexpr bool has_envelope() const noexcept { return (bits & 2u) != 0; }
    std::uint8_t bits = 0;
};

/// The end of a stored message with an envelope. Its parts precede it, in this order.
struct EnvelopeSizes {
    std::uint32_t headers = 0;
    std::uint16_t topic = 0, reply_to = 0, acknowledgement = 0, none = 0;
    [[nodiscard]] constexpr std::size_t total() const noexcept
    {
        return sizeof *this + headers + topic + reply_to + acknowledgement;
    }
};

} // namespace detail

/// A message that somebody else owns. It has Message's calls, so one handler serves both. Lifetime:
/// as the memory that it shows.
class MessageView {
public:
    MessageView() noexcept = default;
    /// `kind`: a MessageKind; the library's queues also say whether `stored` ends with an envelope.
    MessageView(LinkId link, detail::StoredKind kind, std::span<const std::byte> stored,
                std::uint32_t connection = 0, TimePoint arrival = {},
                std::uint64_t replaced = 0) noexcept
        : link_{link},
          kind_{kind.bits & 3u},
          connection_{connection & detail::connection_mask},
          stored_{stored},
          arrival_{arrival},
          replaced_{replaced}
    {
    }

    [[nodiscard]] LinkId link() const noexcept { return link_; }
    [[nodiscard]] MessageKind kind() const noexcept { return static_cast<MessageKind>(kind_ & 1u); }
    /// The number of the connection that received it, counted from 1 for each link; 0: not
    /// received.
    [[nodiscard]] std::uint32_t connection() const noexcept { return connection_; }
    [[nodiscard]] std::string_view text() const noexcept { return text_of(bytes()); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept
    {
        return has_envelope() ? stored_.first(stored_.size() - sizes().total()) : stored_;
    }
    [[nodiscard]] std::size_t size() const noexcept { return bytes().size(); }
    /// The subject of the message, as its transport gives it (NATS). Empty: the
    /// transport has no topics.
    [[nodiscard]] std::string_view topic() const noexcept
    {
        const auto its = sizes();
        return part(its.topic, std::size_t{its.reply_to} + its.acknowledgement);
    }
    /// The topic for an answer; empty: none.
    [[nodiscard]] std::string_view reply_to() const noexcept
    {
        const auto its = sizes();
        return part(its.reply_to, its.acknowledgement);
    }
    [[nodiscard]] Headers headers() const noexcept
    {
        const auto its = sizes();
        return Headers{
            part(its.headers, std::size_t{its.topic} + its.reply_to + its.acknowledgement)};
    }
    /// Returns the value of the first header with this name, in any case; empty: there is none.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept
    {
        return headers().find(name);
    }
    /// When it arrived, on the sidecar's clock: the beginning of the loop iteration that read it.
    /// `feed.now() - message.arrival()` is its age. TimePoint{} for a message that is not from
    /// poll(), receive() or next_event().
    [[nodiscard]] TimePoint arrival() const noexcept { return arrival_; }
    /// How many older messages of its key it replaced (OverflowPolicy::conflate), while nobody took
    /// them.
    [[nodiscard]] std::uint64_t replaced() const noexcept { return replaced_; }

private:
    friend struct detail::Stored;

    [[nodiscard]] bool has_envelope() const noexcept { return (kind_ & 2u) != 0; }
    [[nodiscard]] detail::EnvelopeSizes sizes() const noexcept
    {
        detail::EnvelopeSizes sizes;
        if (has_envelope())
            std::memcpy(static_cast<void*>(&sizes), stored_.data() + stored_.size() - sizeof sizes,
                        sizeof sizes);
        return sizes;
    }
    /// Returns the part of the envelope behind which there are `behind` bytes and the sizes.
    [[nodiscard]] std::string_view part(std::size_t size, std::size_t behind) const noexcept
    {
        if (!has_envelope())
            return {};
        behind += sizeof(detail::EnvelopeSizes);
        return text_of(stored_.subspan(stored_.size() - behind - size, size));
    }
    [[nodiscard]] static std::string_view text_of(std::span<const std::byte> bytes) noexcept
    {
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    LinkId link_{};
    // Both in one word, so that they do not make a view larger
    std::uint32_t kind_ : 2 = 1; // as in StoredKind
    std::uint32_t connection_ : 30 = 0;
    std::span<const std::byte> stored_; // the payload, then the envelope if there is one
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

/// A message as the queues store it, with its envelope.
struct Stored {
    StoredKind kind;
    std::span<const std::byte> bytes;

    explicit Stored(const MessageView& message) noexcept
        : kind{StoredKind::of(message.kind_)}, bytes{message.stored_}
    {
    }
};

} // namespace detail

/// A message that the application owns. Up to `inline_bytes` of payload and envelope are in the
/// object itself, without allocation.
class Message {
public:
    static constexpr std::size_t inline_bytes = 96;

    Message() noexcept = default;
    explicit Message(const MessageView& view)
        : link_{view.link()},
          kind_{detail::Stored{view}.kind.bits & 3u},
          connection_{view.connection() & detail::connection_mask},
          stored_bytes_{detail::Stored{view}.bytes.size()},
          arrival_{view.arrival()},
          replaced_{view.replaced()}
    {
        if (stored_bytes_ > inline_bytes)
            block_.reset(new std::byte[stored_bytes_]);
        if (stored_bytes_ != 0)
            std::memcpy(block_ ? block_.get() : inline_, detail::Stored{view}.bytes.data(),
                        stored_bytes_);
    }
    /// Takes over a block that already holds the payload, and behind it the envelope if `kind` says
    /// so.
    Message(LinkId link, detail::StoredKind kind, detail::Block block, std::size_t stored_bytes,
            std::uint32_t connection = 0, TimePoint arrival = {}) noexcept
        : link_{link},
          kind_{kind.bits & 3u},
          connection_{connection & detail::connection_mask},
          stored_bytes_{stored_bytes},
          arrival_{arrival},
          block_{std::move(block)}
    {
    }
    Message(Message&& other) noexcept { *this = std::move(other); }
    Message& operator=(Message&& other) noexcept
    {
        link_ = other.link_;
        kind_ = other.kind_;
        other.kind_ = other.kind_ & 1u; // its envelope is gone too
        connection_ = other.connection_;
        stored_bytes_ = std::exchange(other.stored_bytes_, 0);
        arrival_ = other.arrival_;
        replaced_ = other.replaced_;
        block_ = std::move(other.block_);
        if (!block_)
            std::memcpy(inline_, other.inline_, stored_bytes_);
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
    [[nodiscard]] std::size_t size() const noexcept { return view().size(); }
    /// See MessageView::topic. Lifetime of these four: as text().
    [[nodiscard]] std::string_view topic() const noexcept { return view().topic(); }
    /// See MessageView::reply_to.
    [[nodiscard]] std::string_view reply_to() const noexcept { return view().reply_to(); }
    /// See MessageView::headers.
    [[nodiscard]] Headers headers() const noexcept { return view().headers(); }
    /// See MessageView::header.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept
    {
        return view().header(name);
    }
    /// See MessageView::arrival.
    [[nodiscard]] TimePoint arrival() const noexcept { return arrival_; }
    /// See MessageView::replaced.
    [[nodiscard]] std::uint64_t replaced() const noexcept { return replaced_; }
    [[nodiscard]] MessageView view() const noexcept
    {
        return {link_,
                detail::StoredKind::of(kind_),
                {block_ ? block_.get() : inline_, stored_bytes_},
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
    std::uint32_t kind_ : 2 = 1; // as in StoredKind
    std::uint32_t connection_ : 30 = 0;
    std::size_t stored_bytes_ = 0; // of payload and envelope
    TimePoint arrival_{};
    std::uint64_t replaced_ = 0;
    detail::Block block_;
    std::byte inline_[inline_bytes];
};

namespace detail {
/// How many bytes the message has in a queue.
[[nodiscard]] inline std::size_t stored_bytes(const Message& message) noexcept
{
    return Stored{message.view()}.bytes.size();
}
} // namespace detail

} // namespace sidecar
