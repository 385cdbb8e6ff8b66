#include <sidecar/transports/websocket.hpp>

#include "url.hpp"
#include "wire.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/websocket/error.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <fmt/format.h>

#include <array>
#include <optional>
#include <random>

namespace sidecar {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace ws = beast::websocket;

namespace {

bool is_utf8(std::span<const std::byte> bytes)
{
    // Beast's own check, the one its reads use; it is not part of its documented interface.
    return ws::detail::check_utf8(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// RFC 6455 sections 5.2 and 5.5.1. Beast sends a close only in an operation that then reads, and
/// reading is the listener's.
std::vector<std::byte> close_frame(std::uint16_t code, std::string_view reason)
{
    std::random_device random; // section 5.3: the key must come from a strong source of entropy
    const auto word = random();
    std::array<unsigned, 4> key{};
    for (unsigned i = 0; i < 4; ++i)
        key[i] = word >> (8 * i) & 0xff;
    std::vector<std::byte> frame;
    const auto put = [&](unsigned byte) { frame.push_back(static_cast<std::byte>(byte)); };
    reason = reason.substr(0, 123); // a control frame's payload has at most 125 bytes
    put(0x88);
    put(0x80u | static_cast<unsigned>(2 + reason.size()));
    for (const auto byte : key)
        put(byte);
    unsigned at = 0;
    const auto put_masked = [&](unsigned byte) { put((byte ^ key[at++ % 4]) & 0xff); };
    put_masked(code >> 8);
    put_masked(code & 0xff);
    for (const char c : reason)
        put_masked(static_cast<unsigned char>(c));
    return frame;
}

} // namespace

class WebSocket::Impl {
public:
    explicit Impl(const Options& options) : options_{options} {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { wire_->on_write_error = nullptr; } // a write under way outlives this

    Task<> connect(Context ctx);
    Task<> read(Context ctx, Sink& sink);
    Task<> write(Batch batch);
    Task<> close(CloseReason reason);
    void abort() noexcept { wire_->connection.abort(); }

private:
    struct Pass {
        bool put_any = false;
        bool is_refused = false;       // the sink has no room
        bool is_for_beast = false;     // the next frame is not a plain message
        std::size_t missing_bytes = 0; // of the next message, as far as known
    };
    Task<> shake_hands(std::string_view authority, std::string_view resource);
    Pass pass_on(Sink& sink);
    bool pass_on_collected(Sink& sink);
    Task<> read_batch(Sink& sink);
    [[nodiscard]] bool begin_in_place(Sink& sink, MessageKind kind, std::uint64_t payload_bytes,
                                      std::span<const std::byte> come);
    Task<> read_in_place(Sink& sink);
    void commit_in_place(Sink& sink);
    [[nodiscard]] Exception read_failure(error_code ec) const;
    [[nodiscard]] Exception handshake_failure(error_code ec,
                                              const ws::response_type& response) const;

    static constexpr Duration last_words = std::chrono::milliseconds{500};
    /// Beyond this much a batch is written in pieces.
    static constexpr std::size_t chunk_bytes = 256u << 10;

    const Options options_;                          // sidecar side
    const std::string endpoint_{endpoint(options_)}; // sidecar side; masked
    // sidecar side
    const std::shared_ptr<websocket::Wire> wire_ = std::make_shared<websocket::Wire>();
    std::optional<ws::stream<websocket::Layer, false>> stream_; // sidecar side; no compression
    beast::flat_buffer collected_; // sidecar side; a message that Beast has read
    bool has_collected_ = false;   // sidecar side; the sink has not yet taken it
    struct InPlace { // a large message that is received where the application will read it
        std::span<std::byte> room;
        std::size_t come_bytes = 0;
        MessageKind kind = MessageKind::bytes;
        [[nodiscard]] std::span<std::byte> rest() const { return room.subspan(come_bytes); }
    };
    InPlace in_place_;        // sidecar side; no room: none
    bool is_closing_ = false; // sidecar side
    bool is_over_ = false;    // sidecar side; no read will succeed any more
    LoopEvent over_;          // sidecar side
};

Task<> WebSocket::Impl::connect(Context ctx)
{
    const auto url = websocket::parse_url(options_.url).value();
    const stream::SocketOptions socket_options{.no_delay = options_.no_delay,
                                               .keep_alive = options_.keep_alive};
    co_await wire_->connection.connect(ctx, url.host, url.port, socket_options, endpoint_);
    ctx.phase(Phase::handshaking);
    co_await shake_hands(url.authority, url.resource);
}

/// Apart from connect(), whose coroutine so is a small one: Asio gives its memory to one that stays
/// as long as the link.
Task<> WebSocket::Impl::shake_hands(std::string_view authority, std::string_view resource)
{
    stream_.emplace(*wire_);
    stream_->auto_fragment(false);
    // Beast: 0 is no limit
    stream_->read_message_max(options_.max_message_bytes == 0 ? 1 : options_.max_message_bytes);
    stream_->set_option(ws::stream_base::decorator([this](ws::request_type& request) {
        request.set(beast::http::field::user_agent, "sidecar");
        for (const auto& [name, value] : options_.headers)
            if (beast::iequals(name, "Host") || beast::iequals(name, "User-Agent"))
                request.set(name, value);
            else
                request.insert(name, value);
    }));
    ws::response_type response;
    error_code ec;
    co_await stream_->async_handshake(response, authority, resource,
                                      asio::redirect_error(asio::use_awaitable, ec));
    if (ec)
        throw handshake_failure(ec, response);
    wire_->handshake_is_over();
    wire_->on_write_error = [this] { over_.set(); };
}

Exception WebSocket::Impl::handshake_failure(error_code ec, const ws::response_type& response) const
{
    if (ec == asio::error::operation_aborted)
        return Exception{Failure{Error::cancelled,
                                 {.attempted = "shake hands", .endpoint = endpoint_, .cause = ec}}};
    FailureDetails details{.attempted = "shake hands", .endpoint = endpoint_, .cause = ec};
    if (ec == ws::error::upgrade_declined) {
        details.explanation = fmt::format("the answer was HTTP {} {}", response.result_int(),
                                          std::string{response.reason()});
        details.cause = {};
        return Exception{Failure{Error::handshake_refused, std::move(details)}};
    }
    const bool is_about_content =
        ec == ws::condition::handshake_failed
        || ec.category()
               == beast::http::make_error_code(beast::http::error::bad_version).category();
    if (ec == beast::http::error::end_of_stream || ec == beast::http::error::partial_message)
        return Exception{Failure{Error::connect_failed, std::move(details)}};
    return Exception{Failure{is_about_content ? Error::handshake_refused : Error::connect_failed,
                             std::move(details)}};
}

Task<> WebSocket::Impl::read(Context ctx, Sink& sink)
{
    std::exception_ptr exception;
    try {
        co_await read_batch(sink);
    } catch (...) {
        exception = std::current_exception();
    }
    if (!exception)
        co_return;
    // What Beast has to say to it (an echoed close, the reason of ours) goes out first, if the peer
    // takes it.
    try {
        co_await wire_->flush_answer(ctx, deadline_after(ctx.now(), last_words));
    } catch (
        const boost::system::system_error&) { // cancelled meanwhile; the cause is still the cause
    }
    is_over_ = true;
    over_.set();
    std::rethrow_exception(exception);
}

/// Most messages are whole plain frames: they go from the read-ahead straight to the sink. What is
/// anything else (a control frame, a fragment, a mistake) is left to Beast, one frame at a time, so
/// that Beast never holds bytes back.
Task<> WebSocket::Impl::read_batch(Sink& sink)
{
    if (has_collected_ && !pass_on_collected(sink))
        co_return;
    for (;;) {
        if (!in_place_.room.empty()) {
            co_await read_in_place(sink);
            co_return;
        }
        const auto pass = pass_on(sink);
        if (pass.put_any || pass.is_refused)
            co_return;
        if (!in_place_.room.empty())
            continue;
        if (!pass.is_for_beast) {
            error_code ec;
            if (wire_->connection.receive(sink, pass.missing_bytes, ec) == 0 && !ec) {
                const auto room = wire_->connection.prepare_wait();
                const auto got = co_await wire_->connection.read_some(room, ec);
                if (!ec)
                    wire_->connection.commit_fill(got);
            }
            if (ec)
                throw read_failure(ec);
            continue;
        }
        error_code ec;
        co_await stream_->async_read(collected_, asio::redirect_error(asio::use_awaitable, ec));
        if (ec)
            throw read_failure(ec);
        has_collected_ = true;
        (void)pass_on_collected(sink);
        co_return;
    }
}

bool WebSocket::Impl::begin_in_place(Sink& sink, MessageKind kind, std::uint64_t payload_bytes,
                                     std::span<const std::byte> come)
{
    in_place_ = {.room = sink.prepare(static_cast<std::size_t>(payload_bytes)),
                 .come_bytes = come.size(),
                 .kind = kind};
    if (in_place_.room.empty())
        return false;
    std::copy(come.begin(), come.end(), in_place_.room.begin());
    return true;
}

/// The first message waits for its bytes; those behind it are taken in as far as they have come.
Task<> WebSocket::Impl::read_in_place(Sink& sink)
{
    auto& connection = wire_->connection;
    auto taken = in_place_.room.size();
    try {
        while (!in_place_.rest().empty())
            in_place_.come_bytes += co_await connection.fill_into(in_place_.rest());
        commit_in_place(sink);
        for ((void)pass_on(sink);
             !in_place_.room.empty() && taken < stream::Connection::batch_bytes;
             (void)pass_on(sink)) {
            taken += in_place_.room.size();
            while (!in_place_.rest().empty()) {
                const auto got = connection.try_fill_into(in_place_.rest());
                if (got == 0)
                    co_return;
                in_place_.come_bytes += got;
            }
            commit_in_place(sink);
        }
    } catch (const Exception&) {
        throw;
    } catch (const boost::system::system_error& e) {
        throw read_failure(e.code());
    }
}

void WebSocket::Impl::commit_in_place(Sink& sink)
{
    const auto done = std::exchange(in_place_, {});
    if (done.kind == MessageKind::text && !is_utf8(done.room)) {
        // Beast was not asked, so the answer is ours too; RFC 6455 section 8.1.
        is_closing_ = true;
        wire_->append(asio::buffer(close_frame(1007, {})));
        wire_->note_answer();
        wire_->mute();
        wire_->start_flush();
        throw read_failure(ws::error::bad_frame_payload);
    }
    sink.commit(done.kind);
}

WebSocket::Impl::Pass WebSocket::Impl::pass_on(Sink& sink)
{
    Pass pass;
    const auto unread = wire_->connection.unread();
    std::size_t at = 0;
    for (;;) {
        const auto head = websocket::FrameHead::parse(unread.subspan(at));
        if (head.head_bytes == 0)
            break;
        if (!head.is_plain_message() || head.payload_bytes > options_.max_message_bytes) {
            pass.is_for_beast = true;
            break;
        }
        const auto body = unread.subspan(at + head.head_bytes);
        if (head.payload_bytes > body.size()) {
            if (begin_in_place(sink, head.kind(), head.payload_bytes, body))
                at = unread.size();
            else
                pass.missing_bytes = static_cast<std::size_t>(head.payload_bytes) - body.size();
            break;
        }
        const auto payload = body.first(static_cast<std::size_t>(head.payload_bytes));
        if (head.kind() == MessageKind::text && !is_utf8(payload)) {
            pass.is_for_beast = true; // it knows how to say so to the peer
            break;
        }
        if (!sink.put(head.kind(), payload)) {
            pass.is_refused = true;
            break;
        }
        pass.put_any = true;
        at += head.head_bytes + payload.size();
    }
    wire_->connection.consume(at);
    return pass;
}

bool WebSocket::Impl::pass_on_collected(Sink& sink)
{
    const auto data = collected_.cdata();
    const auto kind = stream_->got_text() ? MessageKind::text : MessageKind::bytes;
    if (!sink.put(kind, {static_cast<const std::byte*>(data.data()), data.size()}))
        return false;
    collected_.clear();
    has_collected_ = false;
    return true;
}

Exception WebSocket::Impl::read_failure(error_code ec) const
{
    FailureDetails details{.attempted = "read", .endpoint = endpoint_, .cause = ec};
    if (ec == ws::error::closed) {
        details.cause = {};
        details.close_code = stream_->reason().code;
        details.close_reason =
            std::string{stream_->reason().reason.c_str(), stream_->reason().reason.size()};
        return Exception{Failure{Error::closed_by_peer, std::move(details)}};
    }
    if (ec == ws::error::message_too_big || ec == ws::error::buffer_overflow) {
        details.cause = {};
        details.explanation = fmt::format("the limit is {} bytes", options_.max_message_bytes);
        return Exception{Failure{Error::too_big, std::move(details)}};
    }
    if (ec == ws::condition::protocol_violation)
        return Exception{Failure{Error::protocol_violation, std::move(details)}};
    if (ec == asio::error::operation_aborted)
        return Exception{Failure{Error::cancelled, std::move(details)}};
    if (ec == asio::error::eof)
        details.explanation = "the connection ended without a close frame";
    return Exception{Failure{Error::disconnected, std::move(details)}};
}

Task<> WebSocket::Impl::write(Batch batch)
{
    std::size_t count = 0;
    for (auto at = batch.begin(); at != batch.end();) {
        if (is_closing_)
            throw boost::system::system_error{asio::error::operation_aborted};
        const auto message = *at;
        stream_->text(message.kind() == MessageKind::text);
        stream_->write(asio::buffer(message.bytes().data(), message.size()));
        ++at;
        ++count;
        if (wire_->queued_bytes() >= chunk_bytes) {
            co_await wire_->flush();
            batch.mark_written(std::exchange(count, 0));
        }
    }
    co_await wire_->flush();
}

Task<> WebSocket::Impl::close(CloseReason reason)
{
    is_closing_ = true;
    wire_->append(asio::buffer(close_frame(reason.code, reason.reason)));
    wire_->mute();
    wire_->start_flush();
    while (!is_over_) {
        if (wire_->write_error())
            throw boost::system::system_error{wire_->write_error()};
        co_await over_.wait();
    }
}

WebSocket::WebSocket(const Options& options) : impl_{std::make_unique<Impl>(options)} {}
WebSocket::~WebSocket() = default;

Result<void> WebSocket::check_send(const Options& options, MessageKind kind,
                                   std::span<const std::byte> payload)
{
    if (kind == MessageKind::text && !is_utf8(payload))
        return Failure{Error::bad_message,
                       {.attempted = "send",
                        .endpoint = endpoint(options),
                        .explanation = "the text is not UTF-8; send it as bytes"}};
    return {};
}

Task<> WebSocket::connect(Context ctx) { return impl_->connect(ctx); }
Task<> WebSocket::read(Context ctx, Sink& sink) { return impl_->read(ctx, sink); }
Task<> WebSocket::write(Context, Batch batch) { return impl_->write(batch); }
Task<> WebSocket::close(Context, CloseReason reason) { return impl_->close(reason); }
void WebSocket::abort() noexcept { impl_->abort(); }

} // namespace sidecar
