// Link: one connection of a running feed.
#pragma once

#include <sidecar/detail/core.hpp>
#include <sidecar/error.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
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
    /// Like Feed::flush, for this link.
    [[nodiscard]] Result<void> flush(Duration timeout) { return detail::link_flush(ref_, timeout); }
    /// What its messages and events carry.
    [[nodiscard]] LinkId id() const noexcept { return detail::link_id(ref_); }
    [[nodiscard]] bool is_up() const noexcept { return detail::link_is_up(ref_); }
    /// What was agreed on with the peer when the link came up: a WebSocket's subprotocol. Empty:
    /// nothing.
    [[nodiscard]] std::string protocol() const { return detail::link_protocol(ref_); }
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
