#include "receiver.hpp"

#include "sender.hpp"

#include <boost/endian/conversion.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sidecar::websocket {
namespace {

Failure broken(std::string rule)
{
    return {Error::protocol_violation, {.explanation = std::move(rule)}};
}

} // namespace

/// Validates following short texts together, since a call costs as much as 200 bytes do. A NUL
/// separates them, so that a character cut at the end of one cannot continue in the next.
bool Receiver::is_good_run(std::span<const std::byte> payload,
                           std::span<const std::byte> behind) noexcept
{
    constexpr std::size_t longest = 256;
    std::array<std::byte, 4096> run;
    std::size_t size = 0, count = 0;
    const auto collect = [&](std::span<const std::byte> text) {
        if (text.size() > longest || text.size() >= run.size() - size)
            return false;
        std::copy(text.begin(), text.end(), run.begin() + static_cast<std::ptrdiff_t>(size));
        size += text.size();
        run[size++] = std::byte{0};
        return true;
    };
    if (!collect(payload))
        return is_utf8(payload);
    for (;; ++count) {
        const auto head = FrameHead::parse(behind);
        if (head.head_bytes == 0 || head.is_masked || !head.is_plain_message()
            || head.kind() != MessageKind::text || head.payload_bytes > max_message_bytes_
            || head.payload_bytes > behind.size() - head.head_bytes)
            break;
        const auto length = static_cast<std::size_t>(head.payload_bytes);
        if (!collect(behind.subspan(head.head_bytes, length)))
            break;
        behind = behind.subspan(head.head_bytes + length);
    }
    if (count == 0 || !is_utf8(std::span{run}.first(size)))
        return is_utf8(payload);
    good_ahead_ = count;
    return true;
}

DecodedFrame Receiver::decode_slowly(std::span<const std::byte> bytes)
{
    if (ending_)
        return {};
    good_ahead_ = 0;
    if (fragmented_ == Fragmented::given_out) {
        assembly_.clear();
        fragmented_ = Fragmented::no;
        may_be_plain_ = !is_server();
    }
    auto found = fragment_left_bytes_ != 0 ? take_fragment(bytes, 0) : decode_frame(bytes);
    // No more bytes now: check the part of a text that arrived, before waiting for more
    if (!ending_ && !found.is_complete && found.consumed_bytes == 0 && is_in_message())
        (void)validate_fragments();
    if (!ending_)
        return found;
    assembly_.clear();
    may_be_plain_ = false;
    return {};
}

DecodedFrame Receiver::decode_frame(std::span<const std::byte> bytes)
{
    const auto head = FrameHead::parse(bytes);
    if (const auto valid = validate(bytes, head); !valid) {
        fail(Error::protocol_violation, close_code::protocol_error, valid.error().explanation());
        return {};
    }
    if (head.head_bytes == 0)
        return {};
    const auto body = bytes.subspan(head.head_bytes);
    if (is_server()) {
        const auto key = bytes.subspan(head.head_bytes - key_.size(), key_.size());
        std::copy(key.begin(), key.end(), key_.begin());
        mask_offset_ = 0;
    }
    if (head.is_control())
        return decode_control(head, body);
    const bool is_compressed = (head.first & FrameHead::compressed) != 0 || is_inflating();
    const auto max_bytes = is_compressed ? inflater_->max_further_bytes(max_message_bytes_)
                                         : max_message_bytes_ - assembly_.size();
    if (head.payload_bytes > max_bytes) {
        fail_too_big(is_compressed ? "" : size_so_far(head),
                     is_compressed ? ", and no such message needs so many compressed" : "");
        return {};
    }
    if (head.is_plain_message())
        return decode_whole(head, body);
    return begin_fragment(head, body);
}

/// Checks as much of an incomplete head as has arrived.
Result<void> Receiver::validate(std::span<const std::byte> bytes, const FrameHead& head) const
{
    if (bytes.empty())
        return {};
    const FrameHead first{.first = std::to_integer<std::uint8_t>(bytes[0])};
    if (const auto rsv = first.first & FrameHead::rsv; rsv != 0) {
        if (!inflater_)
            return broken("a reserved bit is set, and no extension was agreed on");
        if (rsv != FrameHead::compressed)
            return broken("a reserved bit is set that has no meaning");
        if (!may_be_compressed(first))
            return broken("the bit of a compressed message is set on another frame than its first");
    }
    switch (first.opcode()) {
    case Opcode::continuation:
        if (!is_in_message())
            return broken("a fragment continues no message");
        break;
    case Opcode::text:
    case Opcode::binary:
        if (is_in_message())
            return broken("a message begins before the fragments of another have ended");
        break;
    case Opcode::close:
    case Opcode::ping:
    case Opcode::pong:
        if (!first.is_final())
            return broken("a control frame is fragmented");
        break;
    default: return broken(fmt::format("the opcode {} is a reserved one", first.first & 0x0f));
    }
    if (bytes.size() < 2)
        return {};
    const auto second = std::to_integer<std::uint8_t>(bytes[1]);
    if (((second & 0x80) != 0) != is_server())
        return broken(is_server() ? "the client has not masked a frame"
                                  : "the server has masked a frame");
    if (first.is_control() && (second & 0x7f) > max_control_bytes)
        return broken("a control frame has more than 125 bytes");
    if (head.head_bytes == 0)
        return {};
    if (!head.is_shortest)
        return broken("a length is not written in the fewest bytes");
    if (head.payload_bytes >> 63 != 0)
        return broken("the highest bit of a length is set");
    return {};
}

/// Unmasks the next payload bytes of the current frame; a client's peer masks none.
void Receiver::unmask(std::span<const std::byte> bytes) noexcept
{
    if (!is_server())
        return;
    mask({const_cast<std::byte*>(bytes.data()), bytes.size()}, key_, mask_offset_);
    mask_offset_ += bytes.size();
}

DecodedFrame Receiver::decode_control(const FrameHead& head, std::span<const std::byte> body)
{
    const auto size = static_cast<std::size_t>(head.payload_bytes);
    if (body.size() < size)
        return {.missing_bytes = size - body.size()};
    // Earlier bytes are judged first
    if (is_in_message() && !validate_fragments())
        return {};
    const auto payload = body.first(size);
    unmask(payload);
    if (head.opcode() == Opcode::close)
        take_close(payload);
    else if (head.opcode() == Opcode::pong && size == ping_bytes)
        std::copy(payload.begin(), payload.end(), pong_.emplace().begin());
    else if (head.opcode() == Opcode::ping && pings_ahead_ != 0)
        --pings_ahead_;
    else if (head.opcode() == Opcode::ping)
        ping_.emplace(payload.begin(), payload.end());
    return {.consumed_bytes = head.head_bytes + size};
}

std::size_t Receiver::look_ahead(std::span<const std::byte> bytes, std::size_t offset)
{
    while (offset < bytes.size()) {
        const auto rest = bytes.subspan(offset);
        const auto head = FrameHead::parse(rest);
        const auto rsv = head.first & FrameHead::rsv;
        const bool is_strange =
            head.is_masked != is_server()
            || (rsv != 0 && (rsv != FrameHead::compressed || !may_be_compressed(head)))
            || (head.is_control() && head.payload_bytes > max_control_bytes);
        // decode() judges faults and a Close, after everything before them
        if (head.head_bytes == 0 || is_strange || head.opcode() == Opcode::close
            || head.payload_bytes > rest.size() - head.head_bytes)
            break;
        const auto size = static_cast<std::size_t>(head.payload_bytes);
        offset += head.head_bytes + size;
        if (head.opcode() == Opcode::ping) {
            const auto payload = rest.subspan(head.head_bytes, size);
            ping_.emplace(payload.begin(), payload.end());
            if (is_server()) { // the copy only: decode() will see these bytes
                MaskKey key;
                std::copy_n(payload.begin() - static_cast<std::ptrdiff_t>(key.size()), key.size(),
                            key.begin());
                mask(*ping_, key);
            }
            ++pings_ahead_;
            break;
        }
    }
    return offset;
}

void Receiver::take_close(std::span<const std::byte> payload)
{
    if (payload.empty()) {
        ending_ = std::make_unique<const Ending>();
        return;
    }
    if (payload.size() == 1)
        return fail(Error::protocol_violation, close_code::protocol_error,
                    "a Close frame has half a code");
    const auto code =
        boost::endian::load_big_u16(reinterpret_cast<const unsigned char*>(payload.data()));
    if (!may_be_on_the_wire(code))
        return fail(Error::protocol_violation, close_code::protocol_error,
                    fmt::format("a Close frame has the code {}, which none may have", code));
    const auto reason = payload.subspan(2);
    if (!is_utf8(reason))
        return fail(Error::protocol_violation, close_code::not_utf8,
                    "the reason in a Close frame is not UTF-8");
    ending_ = std::make_unique<const Ending>(
        Ending{.close_code = code,
               .reason = std::string{reinterpret_cast<const char*>(reason.data()), reason.size()}});
}

/// Decodes a message in one frame; its bytes are not stored, even while it is incomplete.
DecodedFrame Receiver::decode_whole(const FrameHead& head, std::span<const std::byte> body)
{
    const auto size = static_cast<std::size_t>(head.payload_bytes);
    const auto come = body.first(std::min(size, body.size()));
    kind_ = head.kind();
    may_be_plain_ = false;
    mask_offset_ = looked_at_bytes_;
    unmask(come.subspan(looked_at_bytes_));
    if (!validate_part(come.subspan(looked_at_bytes_)))
        return {};
    looked_at_bytes_ = come.size();
    if (come.size() < size)
        return {.kind = kind_, .payload = come, .missing_bytes = size - come.size()};
    if (!validate_end())
        return {};
    may_be_plain_ = !is_server();
    return {.is_complete = true,
            .kind = kind_,
            .payload = come,
            .consumed_bytes = head.head_bytes + size};
}

void Receiver::received(std::span<const std::byte> bytes, bool is_last)
{
    unmask(bytes);
    if (ending_ || !validate_part(bytes) || !is_last)
        return;
    may_be_plain_ = validate_end() && !is_server();
}

DecodedFrame Receiver::begin_fragment(const FrameHead& head, std::span<const std::byte> body)
{
    if (!is_in_message()) {
        kind_ = head.opcode() == Opcode::text ? MessageKind::text : MessageKind::binary;
        may_be_plain_ = false;
        empty_fragments_ = 0;
        if ((head.first & FrameHead::compressed) != 0)
            inflater_->begin();
    }
    fragmented_ = head.is_final() ? Fragmented::last_fragment : Fragmented::begun;
    fragment_left_bytes_ = head.payload_bytes;
    if (head.payload_bytes == 0 && ++empty_fragments_ > max_empty_fragments) {
        fail(Error::protocol_violation, close_code::policy_violation,
             fmt::format("a message has more than {} empty fragments", max_empty_fragments));
        return {};
    }
    return take_fragment(body, head.head_bytes);
}

/// Takes a fragment's bytes as they arrive, so that they need not wait for its end.
DecodedFrame Receiver::take_fragment(std::span<const std::byte> body, std::size_t head_bytes)
{
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(fragment_left_bytes_, body.size()));
    fragment_left_bytes_ -= size;
    unmask(body.first(size));
    const bool is_last = fragment_left_bytes_ == 0 && fragmented_ == Fragmented::last_fragment;
    if (!is_inflating())
        assembly_.append(body.first(size));
    else if (!inflate(body.first(size), is_last))
        return {};
    if (is_last)
        return finish_fragments(head_bytes + size);
    return {.consumed_bytes = head_bytes + size,
            .missing_bytes = static_cast<std::size_t>(fragment_left_bytes_)};
}

/// Returns false if the message was refused. Judges the text inflated before that first.
bool Receiver::inflate(std::span<const std::byte> bytes, bool is_last)
{
    switch (inflater_->inflate(bytes, is_last, assembly_, max_message_bytes_)) {
    case Inflater::Verdict::good: return true;
    case Inflater::Verdict::too_large: fail_too_big("", ""); return false;
    case Inflater::Verdict::bad: break;
    }
    if (validate_fragments())
        fail(Error::protocol_violation, close_code::not_utf8,
             fmt::format("a compressed message cannot be inflated: {}", inflater_->fault()));
    return false;
}

DecodedFrame Receiver::finish_fragments(std::size_t consumed_bytes)
{
    if (!validate_fragments() || !validate_end())
        return {};
    fragmented_ = Fragmented::given_out;
    return {.is_complete = true,
            .kind = kind_,
            .payload = assembly_.bytes(),
            .consumed_bytes = consumed_bytes};
}

/// Checks a further part of the current message. False, here and below: it was refused.
bool Receiver::validate_part(std::span<const std::byte> part)
{
    if (kind_ != MessageKind::text || text_.accept(part))
        return true;
    fail(Error::protocol_violation, close_code::not_utf8,
         fmt::format("a text message is not UTF-8, from byte {} on", *text_.bad_offset()));
    return false;
}

/// Checks many fragments at once, which is faster than one by one.
bool Receiver::validate_fragments()
{
    const auto part = assembly_.bytes().subspan(looked_at_bytes_);
    looked_at_bytes_ = assembly_.size();
    return validate_part(part);
}

bool Receiver::validate_end()
{
    const bool is_good = kind_ != MessageKind::text || text_.may_end();
    if (!is_good)
        fail(Error::protocol_violation, close_code::not_utf8,
             "a text message is not UTF-8: it ends within a character");
    text_ = {};
    looked_at_bytes_ = 0;
    return is_good;
}

/// Describes the size of a plain message, the frame of `head` included.
std::string Receiver::size_so_far(const FrameHead& head) const
{
    return fmt::format("a message of {}{} bytes; ", head.is_final() ? "" : "at least ",
                       assembly_.size() + head.payload_bytes);
}

void Receiver::fail_too_big(std::string_view size, std::string_view more)
{
    fail(Error::too_big, close_code::too_big,
         fmt::format("{}the option max_message_bytes is {}{}", size, max_message_bytes_, more));
}

void Receiver::fail(Error error, std::uint16_t code, std::string_view explanation)
{
    if (is_in_message() && code != close_code::not_utf8 && !validate_fragments())
        return; // the bytes before were refused already
    ending_ = std::make_unique<const Ending>(Ending{
        .error = error, .close_code = code, .reason = {}, .explanation = std::string{explanation}});
}

} // namespace sidecar::websocket
