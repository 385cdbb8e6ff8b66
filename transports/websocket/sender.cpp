#include "sender.hpp"

#include <boost/endian/conversion.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <pthread.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace sidecar::websocket {
namespace {

std::atomic<unsigned> fork_count{0}; // both: atomic; of this process and its ancestors

void count_forks()
{
    static const int registered =
        ::pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1); });
    static_cast<void>(registered);
}

/// The keys that one thread has drawn. Invariant: the first left_ are unused, and all were drawn at
/// fork count forks_; take() draws new ones after a fork.
class KeyStore {
public:
    [[nodiscard]] MaskKey take()
    {
        if (left_ == 0 || forks_ != fork_count.load(std::memory_order_relaxed))
            refill();
        return keys_[--left_];
    }

private:
    void refill()
    {
        count_forks();
        left_ = 0;
        forks_ = fork_count.load();
        const auto bytes = std::as_writable_bytes(std::span{keys_});
        for (std::size_t at = 0; at < bytes.size();) {
            const auto got = ::getrandom(bytes.data() + at, bytes.size() - at, 0);
            if (got < 0 && errno != EINTR)
                throw boost::system::system_error{errno, boost::system::system_category(),
                                                  "getrandom"};
            at += got < 0 ? 0 : static_cast<std::size_t>(got);
        }
        left_ = keys_.size();
    }

    std::array<MaskKey, 256> keys_{}; // one thread only
    std::size_t left_ = 0;            // one thread only
    unsigned forks_ = 0;              // one thread only; fork_count when the keys were drawn
};

using Word = std::uint64_t;

void mask_word(std::byte* at, Word key) noexcept
{
    Word word;
    std::memcpy(&word, at, sizeof word); // payloads have any alignment
    word ^= key;
    std::memcpy(at, &word, sizeof word);
}

Opcode opcode_of(MessageKind kind) noexcept
{
    return kind == MessageKind::text ? Opcode::text : Opcode::binary;
}

void append_frame(Sender::Buffer& out, Role role, Opcode opcode, std::span<const std::byte> payload,
                  std::uint8_t flags)
{
    const auto append = [&](std::span<const std::byte> bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
    };
    std::array<unsigned char, 10> head{
        static_cast<unsigned char>(flags | static_cast<unsigned>(opcode))};
    std::size_t head_bytes = 2;
    if (payload.size() < 126) {
        head[1] = static_cast<unsigned char>(payload.size());
    } else if (payload.size() <= 0xffff) {
        head[1] = 126;
        boost::endian::store_big_u16(&head[2], static_cast<std::uint16_t>(payload.size()));
        head_bytes = 4;
    } else {
        head[1] = 127;
        boost::endian::store_big_u64(&head[2], payload.size());
        head_bytes = 10;
    }
    const bool is_masked = role == Role::client;
    if (is_masked)
        head[1] |= 0x80; // the key follows
    append(std::as_bytes(std::span{head}).first(head_bytes));
    if (!is_masked)
        return append(payload);
    const auto key = new_mask_key();
    append(key);
    append(payload);
    mask(std::span{out}.last(payload.size()), key);
}

/// Returns the longest prefix of at most `max_bytes` that cuts no UTF-8 character.
std::string_view cut(std::string_view text, std::size_t max_bytes)
{
    if (text.size() <= max_bytes)
        return text;
    const auto continues = [&](std::size_t at) {
        return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
    };
    while (max_bytes != 0 && continues(max_bytes))
        --max_bytes;
    return text.substr(0, max_bytes);
}

} // namespace

MaskKey new_mask_key()
{
    constinit thread_local static KeyStore store;
    return store.take();
}

void mask(std::span<std::byte> bytes, MaskKey key, std::size_t offset) noexcept
{
    std::array<std::byte, sizeof(Word)> pattern;
    for (std::size_t i = 0; i < pattern.size(); ++i)
        pattern[i] = key[(offset + i) % key.size()];
    Word word;
    std::memcpy(&word, pattern.data(), sizeof word);

    auto* at = bytes.data();
    auto left = bytes.size();
    for (; left >= 4 * sizeof word; left -= 4 * sizeof word, at += 4 * sizeof word) {
        mask_word(at, word);
        mask_word(at + sizeof word, word);
        mask_word(at + 2 * sizeof word, word);
        mask_word(at + 3 * sizeof word, word);
    }
    for (; left >= sizeof word; left -= sizeof word, at += sizeof word)
        mask_word(at, word);
    for (std::size_t i = 0; i < left; ++i)
        at[i] ^= pattern[i];
}

void PartialMessage::append(Buffer& out, std::span<const std::byte> piece)
{
    const bool is_first = offset_ == 0;
    offset_ += piece.size();
    const bool is_last = offset_ == payload_bytes_;
    auto payload = piece;
    if (deflater_)
        payload = deflater_->deflate(piece, is_last);
    if (deflater_ && is_first && payload.size() >= piece.size()) {
        std::exchange(deflater_, nullptr)->discard();
        payload = piece;
    }
    const auto flags =
        (is_first && deflater_ ? FrameHead::compressed : 0) | (is_last ? FrameHead::fin : 0);
    append_frame(out, role_, std::exchange(opcode_, Opcode::continuation), payload,
                 static_cast<std::uint8_t>(flags));
}

bool Sender::append_message(Buffer& out, MessageKind kind, std::span<const std::byte> payload)
{
    const auto opcode = opcode_of(kind);
    auto* const deflater = deflater_for(payload.size());
    if (!deflater || is_over_)
        return append(out, opcode, payload);
    const auto deflated = deflater->deflate(payload, true);
    if (deflated.size() < payload.size())
        return append(out, opcode, deflated, FrameHead::fin | FrameHead::compressed);
    deflater->discard();
    return append(out, opcode, payload);
}

std::span<const std::byte> Sender::frame_of(sidecar::detail::SharedMessage& message)
{
    const auto* const deflater = deflater_for(message.size());
    const auto key =
        deflater ? deflated_key + static_cast<unsigned>(deflater->window_bits()) : plain_key;
    if (const auto* kept = message.find(key))
        return *kept;
    Buffer frame;
    append_message(frame, message.view().kind(), message.view().bytes());
    return message.keep(key, std::move(frame));
}

bool Sender::append_ping(Buffer& out, std::span<const std::byte> payload)
{
    return append(out, Opcode::ping, payload);
}

bool Sender::append_pong(Buffer& out, std::span<const std::byte> payload)
{
    return append(out, Opcode::pong, payload);
}

PartialMessage Sender::begin_message(MessageKind kind, std::size_t payload_bytes)
{
    return {role_, opcode_of(kind), payload_bytes, deflater_for(payload_bytes)};
}

Deflater* Sender::deflater_for(std::size_t payload_bytes) noexcept
{
    return deflater_ && deflater_->wants(payload_bytes) ? deflater_.get() : nullptr;
}

bool Sender::append(Buffer& out, Opcode opcode, std::span<const std::byte> payload,
                    std::uint8_t flags)
{
    if (!is_over_)
        append_frame(out, role_, opcode, payload, flags);
    return !is_over_;
}

bool Sender::append_close(Buffer& out, std::uint16_t code, std::string_view reason)
{
    std::array<std::byte, max_control_bytes> payload;
    std::size_t size = 0;
    if (code != close_code::none) {
        boost::endian::store_big_u16(reinterpret_cast<unsigned char*>(payload.data()), code);
        reason = cut(reason, max_control_bytes - sizeof code);
        const auto bytes = std::as_bytes(std::span{reason});
        std::copy(bytes.begin(), bytes.end(), payload.begin() + sizeof code);
        size = sizeof code + bytes.size();
    }
    const bool was_appended = append(out, Opcode::close, std::span{payload}.first(size));
    is_over_ = true;
    return was_appended;
}

} // namespace sidecar::websocket
