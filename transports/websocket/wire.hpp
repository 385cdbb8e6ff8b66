// What lies between Beast's websocket stream and the socket: read-ahead, gathered writes, and the
// gate that keeps Beast from reading further than the one frame it is meant to handle.
#pragma once

#include "connection.hpp"
#include "frame.hpp"

#include <sidecar/loop_event.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/role.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace sidecar::websocket {

/// Side: the loop's thread. Kept alive by its pending operations.
class Wire : public std::enable_shared_from_this<Wire> {
public:
    stream::Connection connection;

    // --- reading
    /// From now on Beast gets frames, one at a time.
    void handshake_is_over() noexcept
    {
        in_handshake_ = false;
        if (!is_flushing_)
            in_flight_ = std::vector<std::byte>{}; // many a link never sends again
    }
    /// How many of the buffered bytes Beast may have now.
    [[nodiscard]] std::size_t gate()
    {
        const auto unread = connection.unread();
        if (in_handshake_)
            return gate_of_handshake(unread);
        if (frame_left_ == 0) {
            const auto head = FrameHead::parse(unread);
            if (head.head_bytes == 0)
                return 0;
            frame_left_ = head.head_bytes + std::min(head.payload_bytes, std::uint64_t{1} << 62);
        }
        return static_cast<std::size_t>(std::min<std::uint64_t>(frame_left_, unread.size()));
    }
    void passed(std::size_t bytes)
    {
        connection.consume(bytes);
        if (in_handshake_)
            head_left_ -= bytes;
        else
            frame_left_ -= bytes;
    }

    // --- writing
    /// Queues bytes to be written; flush() sends them.
    template <class Buffers>
    std::size_t append(const Buffers& buffers)
    {
        std::size_t total = 0;
        for (auto at = boost::asio::buffer_sequence_begin(buffers);
             at != boost::asio::buffer_sequence_end(buffers); ++at) {
            const boost::asio::const_buffer part{*at};
            const auto* bytes = static_cast<const std::byte*>(part.data());
            queued_.insert(queued_.end(), bytes, bytes + part.size());
            total += part.size();
        }
        queued_total_ += total;
        return total;
    }
    [[nodiscard]] std::size_t queued_bytes() const noexcept { return queued_.size(); }
    /// Waits until the system has taken all that was queued. Throws system_error.
    Task<> flush()
    {
        const auto target = queued_total_;
        start_flush();
        while (written_total_ < target) {
            if (write_error_)
                throw boost::system::system_error{write_error_};
            co_await flushed_.wait();
        }
    }
    /// Sends all that was queued, without waiting.
    void start_flush()
    {
        if (is_flushing_ || queued_.empty() || write_error_)
            return;
        is_flushing_ = true;
        std::swap(queued_, in_flight_);
        boost::asio::async_write(connection.socket(), boost::asio::buffer(in_flight_),
                                 [self = shared_from_this()](error_code ec, std::size_t bytes) {
                                     self->wrote(ec, bytes);
                                 });
    }
    /// After this only what is queued already goes out; Beast's own writes are swallowed.
    void mute() noexcept { is_muted_ = true; }
    [[nodiscard]] error_code write_error() const noexcept { return write_error_; }
    std::function<void()> on_write_error;

    // --- for Layer
    [[nodiscard]] bool is_muted() const noexcept { return is_muted_; }
    /// One at a time, as Beast does it: calls back once no more than a bounded amount is queued
    /// before what is now. Not only once that is written: Beast does not read meanwhile, and a peer
    /// that waits for us to read would wait for ever.
    void when_accepted(std::function<void(error_code)> callback)
    {
        callback_ = std::move(callback);
        callback_at_ = queued_total_ - std::min<std::uint64_t>(queued_total_, control_bytes);
        note_answer();
        start_flush();
        call_back();
    }
    /// What is queued now ends with an answer to the peer.
    void note_answer() noexcept { answer_at_ = queued_total_; }
    /// Waits for the last answer to be written, until the deadline.
    Task<> flush_answer(Context ctx, TimePoint deadline)
    {
        // g++ 12 makes nonsense of a co_await in the condition of an if that is itself the loop's
        // body.
        bool is_in_time = true;
        while (is_in_time && written_total_ < answer_at_ && !write_error_) {
            is_in_time = co_await ctx.wait(idle_, deadline);
        }
    }

private:
    /// Memory that a batch of unusual size took is given back.
    static constexpr std::size_t kept_bytes = 512u << 10;
    static constexpr std::size_t largest_head_bytes = 16u << 10;
    /// What may be queued before an answer to a control frame counts as given: a batch of the
    /// writer's, and many answers.
    static constexpr std::size_t control_bytes = 1u << 20;

    /// Decides once, before the first byte is passed: Beast takes a long head in several pieces.
    std::size_t gate_of_handshake(std::span<const std::byte> unread)
    {
        if (head_left_ == 0)
            head_left_ =
                find_end_of_head({reinterpret_cast<const char*>(unread.data()), unread.size()});
        return std::min(head_left_, unread.size());
    }
    /// Zero: it has not come yet.
    std::size_t find_end_of_head(std::string_view text)
    {
        constexpr std::string_view end_of_head = "\r\n\r\n";
        constexpr auto everything = static_cast<std::size_t>(-1);
        if (text.size() >= 12 && text.substr(8, 4) != " 101")
            return everything; // a refusal: no frames follow, but perhaps a body
        const auto from = scanned_ < end_of_head.size() ? 0 : scanned_ - end_of_head.size();
        const auto end = text.find(end_of_head, from);
        scanned_ = text.size();
        if (end == text.npos)
            // More than Beast accepts: let it say so
            return text.size() > largest_head_bytes ? everything : 0;
        return end + end_of_head.size();
    }

    void wrote(error_code ec, std::size_t bytes)
    {
        is_flushing_ = false;
        written_total_ += bytes;
        in_flight_.clear();
        if (in_flight_.capacity() > kept_bytes)
            in_flight_.shrink_to_fit();
        if (ec) {
            write_error_ = ec;
            if (on_write_error)
                on_write_error();
        }
        flushed_.set();
        idle_.set();
        call_back();
        start_flush();
    }

    void call_back()
    {
        if (callback_ && (write_error_ || written_total_ >= callback_at_))
            std::exchange(callback_, nullptr)(write_error_);
    }

    bool in_handshake_ = true;
    std::size_t scanned_ = 0;      // how far the end of the handshake's head was looked for
    std::size_t head_left_ = 0;    // of that head, for Beast; 0: not known yet
    std::uint64_t frame_left_ = 0; // of the frame that Beast is reading
    std::vector<std::byte> queued_, in_flight_;
    std::uint64_t queued_total_ = 0, written_total_ = 0;
    bool is_flushing_ = false;
    bool is_muted_ = false;
    error_code write_error_;
    LoopEvent flushed_; // for flush(), the writer's
    LoopEvent idle_;    // for flush_answer(), the listener's
    std::uint64_t answer_at_ = 0;
    std::function<void(error_code)> callback_;
    std::uint64_t callback_at_ = 0;
};

/// Beast's next layer: a Wire as Asio's AsyncReadStream, AsyncWriteStream and SyncWriteStream.
class Layer {
public:
    using executor_type = boost::asio::any_io_executor;

    explicit Layer(Wire& wire) noexcept : wire_{&wire} {}
    [[nodiscard]] executor_type get_executor() noexcept
    {
        return wire_->connection.socket().get_executor();
    }

    template <class Buffers, class Token>
    auto async_read_some(const Buffers& buffers, Token&& token)
    {
        return boost::asio::async_compose<Token, void(error_code, std::size_t)>(
            Read<Buffers>{wire_, buffers}, token, wire_->connection.socket());
    }

    template <class Buffers, class Token>
    auto async_write_some(const Buffers& buffers, Token&& token)
    {
        return boost::asio::async_initiate<Token, void(error_code, std::size_t)>(
            [wire = wire_, executor = get_executor()](auto handler, const Buffers& bytes) {
                using Handler = decltype(handler);
                // Control frames only, so seldom
                auto kept = std::make_shared<Handler>(std::move(handler));
                const auto complete = [kept, executor](error_code ec, std::size_t n) {
                    boost::asio::post(boost::asio::get_associated_executor(*kept, executor),
                                      [kept, ec, n] { std::move (*kept)(ec, n); });
                };
                if (wire->is_muted()) {
                    complete({}, boost::asio::buffer_size(bytes));
                    return;
                }
                const auto total = wire->append(bytes);
                wire->when_accepted(
                    [complete, total](error_code ec) { complete(ec, ec ? 0 : total); });
            },
            token, buffers);
    }

    /// What Beast writes synchronously is queued; the writer flushes it.
    template <class Buffers>
    std::size_t write_some(const Buffers& buffers, error_code& ec)
    {
        ec = {};
        return wire_->append(buffers);
    }
    template <class Buffers>
    std::size_t write_some(const Buffers& buffers)
    {
        return wire_->append(buffers);
    }
    // Beast asks for these, and never calls them here.
    template <class Buffers>
    std::size_t read_some(const Buffers&, error_code& ec)
    {
        ec = boost::asio::error::operation_not_supported;
        return 0;
    }
    template <class Buffers>
    std::size_t read_some(const Buffers&)
    {
        return 0;
    }

private:
    template <class Buffers>
    struct Read {
        Wire* wire;
        Buffers buffers;
        enum { starting, filling, done } state = starting;
        std::size_t bytes = 0;

        template <class Self>
        void operator()(Self& self, error_code ec = {}, std::size_t got = 0)
        {
            if (state == done)
                return self.complete({}, bytes);
            auto& connection = wire->connection;
            if (connection.is_aborted())
                return self.complete(boost::asio::error::operation_aborted, 0);
            const bool is_first = state == starting;
            if (state == filling) {
                if (ec)
                    return self.complete(ec, 0);
                connection.commit_fill(got);
            }
            if (const auto allowed = wire->gate();
                allowed != 0 || boost::asio::buffer_size(buffers) == 0) {
                bytes = boost::asio::buffer_copy(
                    buffers, boost::asio::buffer(connection.unread().data(), allowed));
                wire->passed(bytes);
                state = done;
                if (is_first)
                    return boost::asio::post(get_executor(), std::move(self));
                return self.complete({}, bytes);
            }
            state = filling;
            connection.socket().async_read_some(connection.prepare_fill(), std::move(self));
        }
        [[nodiscard]] boost::asio::any_io_executor get_executor() const
        {
            return wire->connection.socket().get_executor();
        }
    };

    Wire* wire_;
};

/// How Beast ends a connection: not at all. The transport does, once Beast's last frame is written.
template <class Handler>
void async_teardown(boost::beast::role_type, Layer& layer, Handler&& handler)
{
    boost::asio::post(layer.get_executor(), [h = std::forward<Handler>(handler)]() mutable {
        std::move(h)(error_code{});
    });
}
inline void teardown(boost::beast::role_type, Layer&, error_code& ec) { ec = {}; }
/// Beast's timeouts would call it; they are off.
inline void beast_close_socket(Layer&) {}

} // namespace sidecar::websocket
