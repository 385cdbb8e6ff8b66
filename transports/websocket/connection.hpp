// One WebSocket connection after its opening handshake, in either role. Private to the transport.
#pragma once

#include "protocol.hpp"
#include "reader.hpp"
#include "text.hpp"
#include "utf8.hpp"
#include "writer.hpp"

#include <sidecar/close_reason.hpp>
#include <sidecar/loop_event.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sidecar::websocket {

/// Called after Writer::finish(). Waits until the last word is written, ends our half of the stream
/// and waits until the peer ends its half; meanwhile it reads and discards, up to a bound. Closing
/// a socket with unread bytes would reset the connection, which could destroy the last word before
/// the peer has read it. Ends after half a second, or with the stream (abort()). Throws nothing but
/// a cancellation.
[[nodiscard]] Task<> lingering_close(Context ctx, std::shared_ptr<stream::Stream> stream,
                                     std::shared_ptr<stream::Writer> writer);

/// Returns the failure of a text that is not UTF-8.
[[nodiscard]] Failure not_utf8(std::string endpoint);
/// Checks a text to send for UTF-8 (RFC 6455 section 5.6). `endpoint()` names the peer in a failure;
/// it is called for one only, since each send comes here. Errors: bad_message.
template <class Endpoint>
[[nodiscard]] Result<void> check_text(MessageKind kind, std::span<const std::byte> payload,
                                      Endpoint endpoint)
{
    if (kind == MessageKind::text && !is_utf8(payload))
        return not_utf8(endpoint());
    return {};
}

/// Owned by its transport. The Protocol interprets bytes and knows what it owes, Reader and Writer
/// move the bytes. The calls are those of a Transport. Side: the loop's thread.
///
/// Invariants: the protocol appends everything that the writer gets as an answer, so that nothing
/// follows our Close; once end_ is set, no read succeeds.
class Connection final : private stream::Decoder, private stream::Encoder {
public:
    /// `endpoint` names the peer in failures.
    Connection(Role role, std::size_t max_message_bytes, std::string endpoint);

    [[nodiscard]] const std::string& endpoint() const noexcept { return endpoint_; }

    /// Begins with the stream behind the handshake. `early` holds bytes of it that have already
    /// arrived; `secrets` are those that the peer may repeat.
    void open(std::shared_ptr<stream::Stream> stream, std::span<const std::byte> early,
              const std::optional<Deflation>& deflation, http::Secrets secrets = {});

    /// Sends the answer that opens a server's WebSocket, before all else.
    void send_head(std::string_view head) { writer_->answer(std::as_bytes(std::span{head})); }

    Task<> read(Context ctx, Sink& sink);
    Task<> write(Batch batch) { return writer_->write(batch, *this); }
    Task<> ping(Context ctx, std::span<const std::byte> payload);
    Task<> close(CloseReason reason);
    /// The owner aborts the stream.
    void on_abort() noexcept { over_.set(); }

private:
    // stream::Decoder and stream::Encoder
    stream::DecodeResult decode(std::span<const std::byte> unread, Sink& sink) override;
    void received(std::span<const std::byte> bytes, bool is_last) override;
    void encode(stream::Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) override;

    Task<> answer_pings(Context ctx, Sink& sink);
    void look_for_pings();
    void answer();
    void send_last_word();
    Task<> await_last_word(Context ctx);
    [[nodiscard]] Failure read_failure(std::exception_ptr exception) const;

    const std::string endpoint_;             // sidecar side
    http::Secrets secrets_;                  // sidecar side
    std::shared_ptr<stream::Stream> stream_; // sidecar side; null until open()
    stream::Reader reader_;                  // sidecar side
    std::shared_ptr<stream::Writer> writer_; // sidecar side; null until open()
    Protocol protocol_;                      // sidecar side
    std::optional<PartialMessage> large_;    // sidecar side; being sent in fragments
    std::uint64_t looked_until_ = 0;         // sidecar side; offset in the stream, for pings
    bool has_answered_end_ = false;          // sidecar side; the writer has our answer to ending()
    std::optional<Failure> end_;             // sidecar side; set: no read will succeed
    LoopEvent over_;                         // sidecar side; close() awaits it
};

} // namespace sidecar::websocket
