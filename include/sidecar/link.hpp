// Link: one connection of a running feed.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/send_options.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/sticky.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sidecar {

namespace detail {
class LinkImpl;
class Run;
} // namespace detail

/// One connection of a running feed, whatever its transport; from Feed::open() or Feed::link().
/// Cheap to copy. After the run that it belongs to has ended, its calls say `stopped`; it keeps that
/// run's queues in memory until it goes itself. A link that is down and has no Link any more gives
/// its own memory back while the run goes on.
/// Side: app, any thread.
class SIDECAR_API Link {
public:
    /// Like Feed::send, to this link.
    [[nodiscard]] Result<void> send(std::string_view text, Duration timeout = {})
    {
        return send_message(MessageKind::text, std::as_bytes(std::span{text}),
                            {.timeout = timeout});
    }
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, Duration timeout = {})
    {
        return send_message(MessageKind::bytes, bytes, {.timeout = timeout});
    }
    /// The same, with what one send can be told besides.
    /// Errors: as Feed::send; wrong_connection if it names another than the present one.
    [[nodiscard]] Result<void> send(std::string_view text, const SendOptions& options)
    {
        return send_message(MessageKind::text, std::as_bytes(std::span{text}), options);
    }
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, const SendOptions& options)
    {
        return send_message(MessageKind::bytes, bytes, options);
    }
    /// Like Feed::flush, for this link.
    [[nodiscard]] Result<void> flush(Duration timeout);
    /// What its messages and events carry.
    [[nodiscard]] LinkId id() const noexcept;
    [[nodiscard]] bool is_up() const noexcept;
    /// What was agreed on with the peer when the link came up: a WebSocket's subprotocol. Empty:
    /// nothing.
    [[nodiscard]] std::string protocol() const;
    /// The link's own part of Feed::stats(): what it sent, its connections, its peer. What all links
    /// share (the inbox, wake-ups of the application, errors) is zero in it.
    [[nodiscard]] Stats stats() const;
    /// The number of the latest connection that came up, counted from 1; 0: none has yet. For
    /// SendOptions::connection, with which a send is refused once that connection is gone.
    [[nodiscard]] std::uint32_t connection() const noexcept;

    /// Sends this message now and on every connection to come, before ordinary messages and after
    /// on_connected, until unstick(). A key that is there already is not sent or counted again,
    /// unless its message is another now. `is_answer`: recognises the peer's answer; without it the
    /// message counts as confirmed once it was written.
    /// Blocks: not at all. Errors: bad_message, too_big, stopping, link_closed. Lifetime: copied.
    [[nodiscard]] Result<void> stick(std::string key, std::string_view text,
                                     IsAnswer is_answer = {})
    {
        return stick_message(std::move(key), MessageKind::text, std::as_bytes(std::span{text}),
                             std::move(is_answer));
    }
    [[nodiscard]] Result<void> stick(std::string key, std::span<const std::byte> bytes,
                                     IsAnswer is_answer = {})
    {
        return stick_message(std::move(key), MessageKind::bytes, bytes, std::move(is_answer));
    }
    /// Takes a sticky message back. Where it was sent on the present connection, `text` is sent (to
    /// unsubscribe), unless it is empty; `is_answer` as for stick(), only to know when it is done.
    /// Blocks: not at all. Gives: whether there was such a key. Errors: as stick().
    Result<bool> unstick(std::string_view key, std::string_view text = {}, IsAnswer is_answer = {})
    {
        return unstick_message(key, MessageKind::text, std::as_bytes(std::span{text}),
                               std::move(is_answer));
    }
    Result<bool> unstick(std::string_view key, std::span<const std::byte> bytes,
                         IsAnswer is_answer = {})
    {
        return unstick_message(key, MessageKind::bytes, bytes, std::move(is_answer));
    }
    /// Where this sticky message stands; empty: there is none of this key.
    [[nodiscard]] std::optional<StickyState> sticky_state(std::string_view key) const;
    [[nodiscard]] StickyCounts sticky_counts() const;

    /// Closes this link alone: sends what is queued, says goodbye as a stop does, and leaves nothing
    /// of it behind; what it brought before stays receivable, and the feed runs on. Half of the time
    /// is for what is queued. Blocks: at most `timeout`; the connection is then cut off. Errors:
    /// timed_out, the close's own failure, stopping, misuse. Closing what is closed succeeds.
    [[nodiscard]] Result<void> close(Duration timeout);

    /// For any stream, so that test frameworks can show a Result<Link>.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const Link& link)
    {
        stream << "link " << static_cast<std::uint32_t>(link.id());
        return stream;
    }

    Link(const Link&) = default;
    Link(Link&&) = default;
    Link& operator=(Link other) noexcept;
    ~Link() = default;

private:
    friend class Feed;
    Link(std::shared_ptr<detail::Run> run, std::shared_ptr<detail::LinkImpl> link,
         std::uint64_t fork_generation) noexcept;
    [[nodiscard]] Result<void> send_message(MessageKind kind, std::span<const std::byte> payload,
                                            const SendOptions& options);
    [[nodiscard]] Result<void> stick_message(std::string key, MessageKind kind,
                                             std::span<const std::byte> payload,
                                             IsAnswer is_answer);
    [[nodiscard]] Result<bool> unstick_message(std::string_view key, MessageKind kind,
                                               std::span<const std::byte> payload,
                                               IsAnswer is_answer);
    [[nodiscard]] std::optional<Failure> refused(const char* attempted) const;
    [[nodiscard]] bool is_usable() const noexcept;

    // The link has references to its run, so it goes first: in the destructor by this order, and in an
    // assignment by a swap.
    std::shared_ptr<detail::Run> run_;       // app side
    std::shared_ptr<detail::LinkImpl> link_; // app side
    std::uint64_t fork_generation_;          // app side; of the process that made it
};

} // namespace sidecar
