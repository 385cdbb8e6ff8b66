// Link: one connection of a running feed.
#pragma once

#include <sidecar/detail/core.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/send_options.hpp>
#include <sidecar/sticky.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sidecar {

/// One connection of a running feed, whatever its transport; from Feed::open() or Feed::link().
/// Cheap to copy. After the run that it belongs to has ended, its calls say `stopped`; it keeps that
/// run's queues in memory until it goes itself. A link that is down and has no Link any more gives
/// its own memory back while the run goes on.
/// Side: app, any thread.
class Link {
public:
    /// Like Feed::send, to this link.
    [[nodiscard]] Result<void> send(std::string_view text, Duration timeout = {})
    {
        return detail::link_send(ref_, MessageKind::text, std::as_bytes(std::span{text}), timeout);
    }
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, Duration timeout = {})
    {
        return detail::link_send(ref_, MessageKind::bytes, bytes, timeout);
    }
    /// The same, with what one send can be told besides.
    /// Errors: as Feed::send; wrong_connection if it names another than the present one.
    [[nodiscard]] Result<void> send(std::string_view text, const SendOptions& options)
    {
        return detail::link_send(ref_, MessageKind::text, std::as_bytes(std::span{text}), options);
    }
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes, const SendOptions& options)
    {
        return detail::link_send(ref_, MessageKind::bytes, bytes, options);
    }
    /// Like Feed::flush, for this link.
    [[nodiscard]] Result<void> flush(Duration timeout) { return detail::link_flush(ref_, timeout); }
    /// What its messages and events carry.
    [[nodiscard]] LinkId id() const noexcept { return detail::link_id(ref_); }
    [[nodiscard]] bool is_up() const noexcept { return detail::link_is_up(ref_); }
    /// What was agreed on with the peer when the link came up: a WebSocket's subprotocol. Empty:
    /// nothing.
    [[nodiscard]] std::string protocol() const { return detail::link_protocol(ref_); }
    /// The number of the latest connection that came up, counted from 1; 0: none has yet. For
    /// SendOptions::connection, with which a send is refused once that connection is gone.
    [[nodiscard]] std::uint32_t connection() const noexcept
    {
        return detail::link_connection(ref_);
    }

    /// Sends this message now and on every connection to come, before ordinary messages and after
    /// on_connected, until unstick(). A key that is there already is not sent or counted again,
    /// unless its message is another now. `is_answer`: recognises the peer's answer; without it the
    /// message counts as confirmed once it was written.
    /// Blocks: not at all. Errors: bad_message, too_big, stopping, link_closed. Lifetime: copied.
    [[nodiscard]] Result<void> stick(std::string key, std::string_view text,
                                     IsAnswer is_answer = {})
    {
        return detail::link_stick(ref_, std::move(key), MessageKind::text,
                                  std::as_bytes(std::span{text}), std::move(is_answer));
    }
    [[nodiscard]] Result<void> stick(std::string key, std::span<const std::byte> bytes,
                                     IsAnswer is_answer = {})
    {
        return detail::link_stick(ref_, std::move(key), MessageKind::bytes, bytes,
                                  std::move(is_answer));
    }
    /// Takes a sticky message back. Where it was sent on the present connection, `text` is sent (to
    /// unsubscribe), unless it is empty; `is_answer` as for stick(), only to know when it is done.
    /// Blocks: not at all. Gives: whether there was such a key. Errors: as stick().
    Result<bool> unstick(std::string_view key, std::string_view text = {}, IsAnswer is_answer = {})
    {
        return detail::link_unstick(ref_, key, MessageKind::text, std::as_bytes(std::span{text}),
                                    std::move(is_answer));
    }
    Result<bool> unstick(std::string_view key, std::span<const std::byte> bytes,
                         IsAnswer is_answer = {})
    {
        return detail::link_unstick(ref_, key, MessageKind::bytes, bytes, std::move(is_answer));
    }
    /// Where this sticky message stands; empty: there is none of this key.
    [[nodiscard]] std::optional<StickyState> sticky_state(std::string_view key) const
    {
        return detail::link_sticky_state(ref_, key);
    }
    [[nodiscard]] StickyCounts sticky_counts() const { return detail::link_sticky_counts(ref_); }

    /// Closes this link alone: sends what is queued, says goodbye as a stop does, and leaves nothing
    /// of it behind; what it brought before stays receivable, and the feed runs on. Half of the time
    /// is for what is queued. Blocks: at most `timeout`; the connection is then cut off. Errors:
    /// timed_out, the close's own failure, stopping, misuse. Closing what is closed succeeds.
    [[nodiscard]] Result<void> close(Duration timeout) { return detail::link_close(ref_, timeout); }
    /// For any stream, so that test frameworks can show a Result<Link>.
    template <class Stream>
    friend Stream& operator<<(Stream& stream, const Link& link)
    {
        stream << "link " << static_cast<std::uint32_t>(link.id());
        return stream;
    }

private:
    friend class Feed;
    explicit Link(detail::LinkRef ref) : ref_{std::move(ref)} {}

    detail::LinkRef ref_;
};

} // namespace sidecar
