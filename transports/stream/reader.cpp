#include "reader.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <functional>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

/// The own buffer grows by at least this much when the sink has no room.
constexpr std::size_t min_room = 64u << 10;

/// Room behind a message: it mostly holds the next head, and little of it has to be copied.
constexpr std::size_t beyond_bytes = 4096;

/// Less room than this is not worth a system call.
constexpr std::size_t min_in_sink = 16u << 10;

/// Moving more than this for each further piece of a message would cost more than receiving it.
constexpr std::size_t max_moved = 32u << 10;

/// A waiting read has room for at most this much; receive() takes the rest.
constexpr std::size_t max_waited_for = 4096;

void throw_if(error_code ec, const Stream& stream)
{
    if (stream.is_aborted()) // aborted after the operation succeeded
        ec = asio::error::operation_aborted;
    if (ec)
        throw boost::system::system_error{ec};
}

} // namespace

Task<> Reader::read(Stream& stream, Sink& sink, Decoder& decoder)
{
    has_put_ = false;
    if (refused_) {
        if (!put_refused(sink))
            co_return;
        has_put_ = true;
    }
    // Bounded: fillers without a pause and without a message must not hold the thread
    for (std::size_t come = 0; come < batch_bytes;) {
        if (is_in_place()) {
            co_await read_in_place(stream, sink, decoder);
            co_return;
        }
        const bool is_done = decode(sink, decoder);
        if (is_done || has_put_)
            co_return;
        if (is_in_place())
            continue;
        error_code ec;
        auto got = receive(stream, sink, ec);
        if (got == 0 && !ec) {
            // A variable, since g++ 12 accepts no braced array in the call
            const ReadBuffers room{prepare_wait()};
            got = co_await stream.read_some(room, ec);
            throw_if(ec, stream);
            stream.on_read(room[0].size(), got);
            waited(got);
        }
        throw_if(ec, stream);
        sink.on_bytes();
        come += got;
    }
}

void Reader::push(std::span<const std::byte> bytes)
{
    buffer_.commit(
        asio::buffer_copy(buffer_.prepare(bytes.size()), asio::buffer(bytes.data(), bytes.size())));
}

std::span<const std::byte> Reader::unread() const noexcept
{
    if (!in_sink_.empty())
        return in_sink_;
    return {static_cast<const std::byte*>(buffer_.cdata().data()), buffer_.size()};
}

bool Reader::put_refused(Sink& sink)
{
    auto found = refused_->found;
    if (refused_->offset) // it may have moved since
        found.payload = unread().subspan(*refused_->offset, found.payload.size());
    if (!(found.envelope ? sink.put(found.kind, found.payload, *found.envelope)
                         : sink.put(found.kind, found.payload)))
        return false;
    consume(std::exchange(refused_, std::nullopt)->bytes);
    return true;
}

/// Puts every complete message. Returns true if read() must return: a message was put or refused, or
/// none follows.
bool Reader::decode(Sink& sink, Decoder& decoder)
{
    const auto bytes = unread();
    auto pass = decoder.decode(bytes, sink);
    missing_bytes_ = pass.missing_bytes;
    if (pass.refused) {
        const auto payload = pass.refused->payload;
        const bool is_among = std::less_equal<>{}(bytes.data(), payload.data())
                              && std::less<>{}(payload.data(), bytes.data() + bytes.size());
        std::optional<std::size_t> offset;
        if (is_among)
            offset = static_cast<std::size_t>(payload.data() - bytes.data()) - pass.consumed_bytes;
        refused_ = Refused{*pass.refused, offset, pass.refused_bytes};
    } else if (pass.begun) {
        begin_in_place(sink, *pass.begun);
        if (is_in_place())
            pass.consumed_bytes = bytes.size();
    }
    consume(pass.consumed_bytes);
    has_put_ = has_put_ || pass.put_any;
    return pass.put_any || pass.refused || pass.is_over;
}

/// Receives without waiting, into the sink's memory if possible. Zero without an error: nothing was
/// there.
std::size_t Reader::receive(Stream& stream, Sink& sink, error_code& ec)
{
    if (ahead_error_ || stream.is_drained()) { // another call would find nothing
        ec = ahead_error_;
        return 0;
    }
    const auto rest = unread();
    std::span<std::byte> room;
    // A larger message is collected in the own buffer
    if (rest.size() <= max_moved && missing_bytes_ <= max_moved)
        room = sink.receive_buffer(
            std::max(rest.size() + std::max(missing_bytes_, beyond_bytes), min_in_sink));
    if (room.empty()) {
        // At most doubles: an announced length is not data that has arrived
        const auto wanted = std::max(min_room, std::min(missing_bytes_, buffer_.size()));
        const auto got = stream.try_read({buffer_.prepare(wanted)}, ec);
        buffer_.commit(got);
        return got;
    }
    const auto got = stream.try_read({asio::buffer(room.data(), room.size()) + rest.size()}, ec);
    if (got == 0)
        return 0;
    std::copy(rest.begin(), rest.end(), room.begin());
    buffer_.consume(rest.size());
    in_sink_ = room.first(rest.size() + got);
    return got;
}

void Reader::read_ahead(Stream& stream, std::size_t max_bytes)
{
    constexpr std::size_t step = 16u << 10;
    while (!ahead_error_ && !is_in_place() && buffer_.size() < max_bytes) {
        const auto got = stream.try_read({buffer_.prepare(step)}, ahead_error_);
        buffer_.commit(got);
        if (got < step)
            return;
    }
}

/// Returns a little room behind unread(), in the own buffer since the link will wait. Releases the
/// buffer if a large message made it grow.
asio::mutable_buffer Reader::prepare_wait()
{
    if (buffer_.capacity() > kept_bytes + 2 * buffer_.size())
        buffer_.shrink_to_fit();
    return buffer_.prepare(wait_bytes_);
}

void Reader::waited(std::size_t got)
{
    buffer_.commit(got);
    if (got == wait_bytes_)
        wait_bytes_ = std::min(wait_bytes_ * 2, max_waited_for);
}

/// Called once after each pass. Moves the rest out of the sink's memory.
void Reader::consume(std::size_t bytes)
{
    consumed_bytes_ += bytes;
    if (in_sink_.empty()) {
        buffer_.consume(bytes);
        return;
    }
    const auto rest = std::exchange(in_sink_, {}).subspan(bytes);
    if (!rest.empty())
        push(rest);
}

void Reader::begin_in_place(Sink& sink, const Fragment& begun)
{
    in_place_ = sink.prepare(begun.payload.size() + missing_bytes_);
    if (in_place_.empty()) {
        in_place_ = {};
        return;
    }
    std::copy(begun.payload.begin(), begun.payload.end(), in_place_.begin());
    in_place_bytes_ = begun.payload.size();
    in_place_kind_ = begun.kind;
}

/// Waits for the first message's bytes; receives those behind it without waiting.
Task<> Reader::read_in_place(Stream& stream, Sink& sink, Decoder& decoder)
{
    error_code ec;
    while (in_place_bytes_ < in_place_.size()) {
        throw_if(ahead_error_, stream);
        const auto room = rest_in_place();
        const auto got = co_await stream.read_some(room, ec);
        throw_if(ec, stream);
        stream.on_read(asio::buffer_size(room), got);
        sink.on_bytes();
        received_in_place(decoder, got);
    }
    for (auto taken = commit_in_place(sink);; taken += commit_in_place(sink)) {
        (void)decode(sink, decoder);
        if (!is_in_place() || taken >= batch_bytes)
            co_return;
        while (in_place_bytes_ < in_place_.size()) {
            if (ahead_error_ || stream.is_drained())
                co_return;
            const auto got = stream.try_read(rest_in_place(), ec);
            throw_if(ec, stream);
            if (got == 0)
                co_return;
            sink.on_bytes();
            received_in_place(decoder, got);
        }
    }
}

ReadBuffers Reader::rest_in_place()
{
    const auto rest = in_place_.subspan(in_place_bytes_);
    return {asio::buffer(rest.data(), rest.size()),
            asio::mutable_buffer{buffer_.prepare(beyond_bytes)}};
}

void Reader::received_in_place(Decoder& decoder, std::size_t got)
{
    const auto inside = std::min(got, in_place_.size() - in_place_bytes_);
    buffer_.commit(got - inside);
    const auto bytes = in_place_.subspan(in_place_bytes_, inside);
    in_place_bytes_ += inside;
    consumed_bytes_ += inside;
    decoder.received(bytes, in_place_bytes_ == in_place_.size());
}

/// Returns the message's size.
std::size_t Reader::commit_in_place(Sink& sink)
{
    sink.commit(in_place_kind_);
    has_put_ = true;
    return std::exchange(in_place_, {}).size();
}

} // namespace sidecar::stream
