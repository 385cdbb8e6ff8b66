// Drives a Protocol as a reader would, without sockets, and notes what it says.
#pragma once

#include <protocol.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

/// As a server sends it.
inline std::string server_frame(unsigned first, std::string_view payload)
{
    std::string bytes{static_cast<char>(first)};
    const auto put = [&](std::uint64_t length, int width) {
        for (int i = width - 1; i >= 0; --i)
            bytes += static_cast<char>(length >> (8 * i));
    };
    if (payload.size() < 126)
        put(payload.size(), 1);
    else if (payload.size() <= 0xffff)
        put(126, 1), put(payload.size(), 2);
    else
        put(127, 1), put(payload.size(), 8);
    return bytes.append(payload);
}

/// The same frames as the other end would send them: masked frames unmasked, others masked. Of an
/// incomplete frame, as much as there is.
inline std::string of_other_role(std::string_view bytes)
{
    std::string other;
    for (unsigned i = 0; !bytes.empty(); ++i) {
        if (bytes.size() == 1)
            return other.append(bytes);
        const bool is_masked = (bytes[1] & 0x80) != 0;
        const auto length = static_cast<unsigned>(bytes[1] & 0x7f);
        const std::size_t plain_head = length < 126 ? 2 : length == 126 ? 4 : 10;
        other += bytes[0];
        other += static_cast<char>(bytes[1] ^ 0x80);
        other += bytes.substr(2, plain_head - 2);
        const auto head = FrameHead::parse(std::as_bytes(std::span{bytes}));
        if (head.head_bytes == 0)
            return other;
        std::string key{static_cast<char>(0x37 + i), static_cast<char>(i * 3), '\x01', '\xfe'};
        if (is_masked)
            key = bytes.substr(plain_head, 4);
        else
            other += key;
        bytes.remove_prefix(head.head_bytes);
        const auto size =
            static_cast<std::size_t>(std::min<std::uint64_t>(head.payload_bytes, bytes.size()));
        for (std::size_t at = 0; at < size; ++at)
            other += static_cast<char>(bytes[at] ^ key[at % 4]);
        bytes.remove_prefix(size);
    }
    return other;
}

/// A client's frame, unmasked again.
struct ClientFrame {
    unsigned first = 0;
    std::string payload;
    MaskKey key{};
};

inline std::vector<ClientFrame> frames_of(const std::vector<std::byte>& bytes)
{
    std::vector<ClientFrame> frames;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto rest = std::span{bytes}.subspan(at);
        const auto head = FrameHead::parse(rest);
        if (head.head_bytes == 0 || !head.is_masked || !head.is_shortest
            || rest.size() - head.head_bytes < head.payload_bytes)
            throw std::logic_error{"not a client's frame"};
        ClientFrame found{head.first, {}, {}};
        std::copy_n(rest.begin() + static_cast<std::ptrdiff_t>(head.head_bytes) - 4, 4,
                    found.key.begin());
        for (std::size_t i = 0; i < head.payload_bytes; ++i)
            found.payload += static_cast<char>(rest[head.head_bytes + i] ^ found.key[i % 4]);
        frames.push_back(found);
        at += head.head_bytes + static_cast<std::size_t>(head.payload_bytes);
    }
    return frames;
}

/// All that a stream of bytes came to.
struct Heard {
    struct Message {
        MessageKind kind;
        std::string payload;
        bool operator==(const Message&) const = default;
    };
    std::vector<Message> messages;
    std::optional<Ending> ending;
    std::string last_ping = "none"; ///< of pings, how many are answered depends on the segments
    std::size_t max_held_bytes = 0;

    /// What must not depend on how the bytes were cut.
    [[nodiscard]] bool is_the_same_as(const Heard& other) const
    {
        const auto same = [](const Ending& a, const Ending& b) {
            return a.error == b.error && a.close_code == b.close_code && a.reason == b.reason
                   && a.explanation == b.explanation;
        };
        return messages == other.messages && ending.has_value() == other.ending.has_value()
               && (!ending || same(*ending, *other.ending)) && last_ping == other.last_ping;
    }
};

/// Where a message that has not come whole is received.
enum class Large { collected, in_place };

inline std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Feeds segments; the unread part is moved each time, as a reader moves it.
class Driver {
public:
    explicit Driver(std::size_t limit, Large large = Large::collected,
                    const std::optional<Deflation>& deflation = {}, Role role = Role::client)
        : protocol_{limit, role}, large_{large}, role_{role}
    {
        if (deflation)
            protocol_.agree_on(*deflation);
    }

    void feed(std::string_view segment)
    {
        while (!segment.empty() && in_place_left_ != 0) {
            auto part = std::string{segment.substr(0, in_place_left_)};
            segment.remove_prefix(part.size());
            in_place_left_ -= part.size();
            protocol_.received(std::as_bytes(std::span{part}), in_place_left_ == 0);
            in_place_ += part; // as the protocol left it
            if (in_place_left_ == 0 && !protocol_.ending())
                heard_.messages.push_back({in_place_kind_, std::exchange(in_place_, {})});
        }
        // memory of its own, of exactly that size, so that a sanitizer sees each look beyond it
        std::vector<std::byte> unread;
        unread.reserve(unread_.size() + segment.size());
        unread.insert(unread.end(), unread_.begin(), unread_.end());
        const auto bytes = std::as_bytes(std::span{segment});
        unread.insert(unread.end(), bytes.begin(), bytes.end());
        unread.shrink_to_fit();
        const auto consumed = pass_on(unread);
        unread_.assign(unread.begin() + static_cast<std::ptrdiff_t>(consumed), unread.end());
        if (protocol_.owes_answer() && !protocol_.ending())
            protocol_.append_answer(answers_);
    }
    [[nodiscard]] const Heard& heard()
    {
        if (const auto* const ending = protocol_.ending())
            heard_.ending = *ending;
        return heard_;
    }
    void forget_messages() { heard_.messages.clear(); }
    [[nodiscard]] Protocol& protocol() noexcept { return protocol_; }

private:
    std::size_t pass_on(std::span<const std::byte> unread)
    {
        for (std::size_t at = 0;;) {
            const auto rest = unread.subspan(at);
            const auto decoded = protocol_.decode(rest);
            if (decoded.consumed_bytes > rest.size())
                throw std::logic_error{"consumed more than there is"};
            if (decoded.is_complete && decoded.consumed_bytes == 0)
                throw std::logic_error{"consumed nothing for a message"};
            at += decoded.consumed_bytes;
            heard_.max_held_bytes = std::max(heard_.max_held_bytes, protocol_.held_bytes());
            record_ping();
            if (decoded.is_complete)
                heard_.messages.push_back({decoded.kind, text_of(decoded.payload)});
            else if (decoded.consumed_bytes == 0)
                return at + begin_in_place(decoded);
        }
    }
    void record_ping()
    {
        if (!protocol_.owes_answer() || protocol_.ending())
            return;
        std::vector<std::byte> pong;
        protocol_.append_answer(pong);
        const auto masked = text_of(pong);
        heard_.last_ping.clear();
        if (role_ == Role::server)
            heard_.last_ping = masked.substr(2);
        else
            for (std::size_t i = 6; i < masked.size(); ++i)
                heard_.last_ping += static_cast<char>(masked[i] ^ masked[2 + (i - 6) % 4]);
    }
    std::size_t begin_in_place(const DecodedFrame& decoded)
    {
        if (large_ == Large::collected || decoded.payload.data() == nullptr
            || decoded.missing_bytes == 0)
            return 0;
        in_place_ = text_of(decoded.payload);
        in_place_left_ = decoded.missing_bytes;
        in_place_kind_ = decoded.kind;
        // the head is 2, 4 or 10 bytes; all that was shown belongs to this message
        const auto size = decoded.payload.size() + decoded.missing_bytes;
        return (size < 126       ? 2
                : size <= 0xffff ? 4
                                 : 10)
               + (role_ == Role::server ? 4 : 0) + decoded.payload.size();
    }

    Protocol protocol_;
    const Large large_;
    const Role role_;
    Heard heard_;
    std::vector<std::byte> unread_;
    std::vector<std::byte> answers_;
    std::string in_place_;
    std::size_t in_place_left_ = 0;
    MessageKind in_place_kind_{};
};

/// `segment_bytes`: zero is all at once.
inline Heard hear(std::string_view bytes, std::size_t limit, std::size_t segment_bytes = 0,
                  Large large = Large::collected, const std::optional<Deflation>& deflation = {},
                  Role role = Role::client)
{
    Driver driver{limit, large, deflation, role};
    if (segment_bytes == 0)
        segment_bytes = std::max<std::size_t>(bytes.size(), 1);
    for (; !bytes.empty(); bytes.remove_prefix(std::min(segment_bytes, bytes.size())))
        driver.feed(bytes.substr(0, segment_bytes));
    return driver.heard();
}

} // namespace sidecar::websocket
