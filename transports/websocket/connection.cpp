#include "connection.hpp"

#include "discard.hpp"
#include "tls/tls.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace sidecar::websocket {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

/// A peer that broke the protocol gets so much time to read the Close about it.
constexpr Duration linger_time = 500ms;

/// While the inbox is full, the link looks for pings at growing intervals, this far ahead.
constexpr Duration first_look = 50ms;
constexpr Duration max_between_looks = 500ms;
constexpr std::size_t max_read_ahead = 256u << 10;

/// The size of fragments: a pong and our Close wait for at most one. A message of up to two is sent
/// whole, since the system takes that much at once anyway.
constexpr std::size_t fragment_bytes = 128u << 10;

/// Thrown through the reader to stop it; the protocol's ending() says why.
struct Ended {};

/// A peer that has sent more than this will not read our Close.
constexpr std::size_t max_discarded_bytes = 64u << 20;

} // namespace

Task<> lingering_close(Context ctx, std::shared_ptr<stream::Stream> stream,
                       std::shared_ptr<stream::Writer> writer)
{
    const auto deadline = deadline_after(ctx.now(), linger_time);
    // Reads from the beginning: a peer that waits for us to read would not take the last word
    const stream::Discard rest{stream, max_discarded_bytes};
    bool is_in_time = false;
    try {
        is_in_time = co_await writer->shut_down(ctx, deadline);
    } catch (const boost::system::system_error&) { // the peer is gone
    }
    if (is_in_time)
        co_await rest.wait(ctx, deadline);
}

Failure not_utf8(std::string endpoint)
{
    return {Error::bad_message,
            {.attempted = "send",
             .endpoint = std::move(endpoint),
             .explanation = "the text is not UTF-8; send it as bytes"}};
}

Connection::Connection(Role role, std::size_t max_message_bytes, std::string endpoint)
    : endpoint_{std::move(endpoint)}, protocol_{max_message_bytes, role}
{
}

void Connection::open(std::shared_ptr<stream::Stream> stream, std::span<const std::byte> early,
                      const std::optional<Deflation>& deflation, http::Secrets secrets)
{
    stream_ = std::move(stream);
    writer_ = std::make_shared<stream::Writer>(stream_);
    reader_.push(early);
    if (deflation)
        protocol_.agree_on(*deflation);
    secrets_ = std::move(secrets);
}

// --- reading

Task<> Connection::read(Context ctx, Sink& sink)
{
    std::exception_ptr exception;
    if (!end_ && !protocol_.ending()) { // else it ended behind the messages of the read before
        bool has_put = false;
        try {
            co_await reader_.read(*stream_, sink, *this);
            has_put = reader_.has_put();
            if (!protocol_.ending()) {
                const auto next_look = deadline_after(ctx.now(), first_look);
                const bool has_room = co_await sink.wait_for_room(ctx, next_look);
                if (!has_room)
                    co_await answer_pings(ctx, sink);
            }
            if (!protocol_.ending())
                co_return;
        } catch (...) {
            exception = std::current_exception();
        }
        if (protocol_.ending()) {
            send_last_word();
            if (has_put || reader_.has_put())
                co_return; // the application gets the messages first
        }
    }
    if (!end_) {
        if (protocol_.ending())
            co_await await_last_word(ctx);
        end_ = read_failure(std::move(exception));
        over_.set();
    }
    throw Exception{*end_};
}

/// Answers the peer's pings until the sink has room.
Task<> Connection::answer_pings(Context ctx, Sink& sink)
{
    Duration interval = first_look;
    for (bool has_room = false; !has_room && !stream_->is_aborted();) {
        interval = std::min(2 * interval, max_between_looks);
        if (reader_.is_in_place()) {
            co_await reader_.read(*stream_, sink, *this); // its rest, to see the bytes behind it
            if (protocol_.ending())
                co_return;
        } else {
            look_for_pings();
        }
        has_room = co_await sink.wait_for_room(ctx, deadline_after(ctx.now(), interval));
    }
}

void Connection::look_for_pings()
{
    reader_.read_ahead(*stream_, max_read_ahead);
    const auto begin = reader_.undecoded_at();
    const auto bytes = reader_.undecoded();
    looked_until_ = std::max(looked_until_, begin + protocol_.fragment_left_bytes());
    while (looked_until_ - begin < bytes.size()) {
        const auto from = static_cast<std::size_t>(looked_until_ - begin);
        const auto end = protocol_.look_ahead(bytes, from);
        if (end == from)
            return;
        looked_until_ = begin + end;
        answer();
    }
}

stream::DecodeResult Connection::decode(std::span<const std::byte> unread, Sink& sink)
{
    auto pass = stream::decode_messages(unread, sink, MessageKind::binary, [this](auto bytes) {
        const auto decoded = protocol_.decode(bytes);
        if (!decoded.is_complete)
            answer(); // to a ping, before the next one
        return decoded;
    });
    if (const auto pong = protocol_.take_pong())
        sink.on_pong(*pong);
    pass.is_over = protocol_.ending() != nullptr;
    return pass;
}

void Connection::received(std::span<const std::byte> bytes, bool is_last)
{
    protocol_.received(bytes, is_last);
    if (protocol_.ending())
        throw Ended{};
}

void Connection::answer()
{
    // send_last_word() sends the answers that go with a Close
    if (protocol_.ending() || !protocol_.owes_answer())
        return;
    std::vector<std::byte> bytes;
    protocol_.append_answer(bytes);
    writer_->answer(bytes);
}

/// Sends the answer to the peer's Close, unless our Close was first, or the Close that names the
/// peer's fault.
void Connection::send_last_word()
{
    if (protocol_.is_send_over())
        return;
    std::vector<std::byte> bytes;
    protocol_.append_answer(bytes);
    writer_->finish(bytes);
    has_answered_end_ = true;
}

/// Waits for that, and ends our half, so that the peer sees a proper end of TLS too.
Task<> Connection::await_last_word(Context ctx)
{
    const bool is_answer = protocol_.ending()->error == Error::closed_by_peer;
    if (!has_answered_end_ && !is_answer)
        co_return; // our Close was first
    try {
        if (is_answer)
            (void)co_await writer_->shut_down(
                ctx, deadline_after(ctx.now(), stream::Writer::end_answer_time));
        else
            co_await lingering_close(ctx, stream_, writer_);
    } catch (const boost::system::system_error&) { // ending() has the reason
    }
}

Failure Connection::read_failure(std::exception_ptr exception) const
{
    if (const auto& ending = protocol_.ending()) {
        FailureDetails details{.attempted = "read", .endpoint = endpoint_};
        details.explanation = ending->explanation;
        if (ending->error == Error::closed_by_peer) {
            details.close_code = ending->close_code;
            details.close_reason = secrets_.redact(ending->reason);
        }
        return {ending->error, std::move(details)};
    }
    try {
        std::rethrow_exception(exception);
    } catch (const Exception& e) {
        return e.failure();
    } catch (const boost::system::system_error& e) {
        FailureDetails details{.attempted = "read", .endpoint = endpoint_, .cause = e.code()};
        if (e.code() == asio::error::operation_aborted)
            return {Error::cancelled, std::move(details)};
        const bool is_cut = stream::is_truncated(e.code());
        if (is_cut || e.code() == asio::error::eof)
            details.explanation = fmt::format("{}the connection ended without a close frame",
                                              is_cut ? "truncated: " : "");
        return {Error::disconnected, std::move(details)};
    } catch (...) {
        return to_failure(std::current_exception(), Error::disconnected, "read", endpoint_);
    }
}

// --- writing and closing

/// Encodes messages; of a large one a fragment, which ends the chunk.
void Connection::encode(stream::Chunk& chunk, Batch::iterator& at, const Batch::iterator& end)
{
    // Compression may shrink the output, so the input is bounded too
    std::size_t encoded_bytes = 0;
    for (; at != end && !chunk.is_full() && encoded_bytes < stream::Chunk::full_bytes; ++at) {
        const auto message = *at;
        auto* const shared = large_ ? nullptr : at.shared();
        if (shared && message.size() <= 2 * fragment_bytes && protocol_.may_share(message.size())) {
            const auto frame = protocol_.frame_of(*shared);
            if (frame.size() >= stream::Chunk::min_borrowed_bytes)
                chunk.borrow(frame);
            else
                chunk.bytes().insert(chunk.bytes().end(), frame.begin(), frame.end());
        } else if (large_ || message.size() > 2 * fragment_bytes) {
            if (!large_)
                large_.emplace(protocol_.begin_message(message.kind(), message.size()));
            const auto rest = message.bytes().subspan(large_->offset());
            large_->append(chunk.bytes(), rest.first(std::min(rest.size(), fragment_bytes)));
            if (large_->offset() != message.size())
                return;
            large_.reset();
        } else {
            (void)protocol_.append_message(chunk.bytes(), message.kind(), message.bytes());
        }
        encoded_bytes += message.size();
        chunk.end_message();
    }
}

Task<> Connection::ping(Context ctx, std::span<const std::byte> payload)
{
    std::vector<std::byte> bytes;
    if (!protocol_.append_ping(bytes, payload))
        co_return;
    writer_->ask(bytes);
    (void)co_await writer_->wait_written(ctx, TimePoint::max());
}

Task<> Connection::close(CloseReason reason)
{
    std::vector<std::byte> bytes;
    protocol_.append_close(bytes, reason.code, reason.reason);
    writer_->finish(bytes);
    while (!end_ && !stream_->is_aborted())
        co_await over_.wait();
    if (!end_)
        throw boost::system::system_error{asio::error::operation_aborted};
    // RFC 6455 section 7.1.4: the closing handshake is complete when the peer's Close arrives
    if (!(*end_ == Error::closed_by_peer))
        throw Exception{*end_};
}

} // namespace sidecar::websocket
