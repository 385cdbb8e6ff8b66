// A message that arrives in pieces.
#pragma once

#include "queue/inbox.hpp"

#include <sidecar/message.hpp>

#include <cstddef>
#include <span>

namespace sidecar::detail {

/// Collects a message in memory of the inbox that grows with what has come. Owned by the link that
/// receives it, one at a time. An announcement alone costs nothing: up to `uncounted_bytes` are not
/// counted, a link has as much of its own anyway; beyond, the inbox's budget grants memory, and keeps
/// all links' unfinished messages within its bound. Where plenty is free, a message whose size is
/// known gets all of it at once, so that nothing is moved. Side: sidecar.
///
///     partial.begin(size, PartialMessage::Size::known);
///     while (!partial.make_space(bytes))        // it holds what has come; so wait:
///         if (inbox.ask_for_space(), !partial.make_space(bytes)) co_await on_space;
///     read into partial.space(); partial.add(bytes_read);
///     ...
///     while (!partial.push(link, kind)) wait likewise;
class PartialMessage {
public:
    static constexpr std::size_t uncounted_bytes = 4096;
    /// Of a message: told by its sender, or the most that there may be, where the end is unknown.
    enum class Size { known, at_most };

    /// Lifetime: `inbox` outlives it.
    explicit PartialMessage(Inbox& inbox) noexcept : inbox_{inbox} {}
    PartialMessage(const PartialMessage&) = delete;
    PartialMessage& operator=(const PartialMessage&) = delete;
    ~PartialMessage() { drop(); }

    /// Begins a message; costs nothing. Only when the last one was pushed or dropped.
    void begin(std::size_t bytes, Size size) noexcept;
    /// Makes space() at least `bytes` long, at most to the message's end; what has come stays, but
    /// may move. False: there is no memory now. Throws bad_alloc.
    [[nodiscard]] bool make_space(std::size_t bytes);
    /// What is free behind what has come.
    [[nodiscard]] std::span<std::byte> space() const noexcept
    {
        return {block_.get() + come_bytes_, capacity_ - come_bytes_};
    }
    /// So many bytes were written to space().
    void add(std::size_t bytes) noexcept { come_bytes_ += bytes; }
    [[nodiscard]] std::span<const std::byte> come() const noexcept
    {
        return {block_.get(), come_bytes_};
    }
    /// Of a known size: what is missing. Else what there may yet be.
    [[nodiscard]] std::size_t missing_bytes() const noexcept { return most_bytes_ - come_bytes_; }
    /// Hands what has come to the inbox, as a whole message. False: there is no space for it now.
    [[nodiscard]] bool push(LinkId link, MessageKind kind);
    /// Gives up the message and its memory.
    void drop() noexcept;

private:
    [[nodiscard]] bool reserve_all();
    [[nodiscard]] bool grow_to(std::size_t capacity);
    [[nodiscard]] std::size_t counted() const noexcept { return counted(capacity_); }
    [[nodiscard]] static std::size_t counted(std::size_t capacity) noexcept
    {
        return capacity > uncounted_bytes ? capacity : 0;
    }
    void clear() noexcept;

    Inbox& inbox_;               // sidecar side
    Block block_;                // sidecar side
    std::size_t capacity_ = 0;   // sidecar side; of the block, as it is counted
    std::size_t come_bytes_ = 0; // sidecar side
    std::size_t most_bytes_ = 0; // sidecar side
    Size size_ = Size::known;    // sidecar side
    bool is_reserved_ = false;   // sidecar side; all of it, at once
};

} // namespace sidecar::detail
