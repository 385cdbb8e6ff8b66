// Reads and discards the rest of a stream that we close. Private to the transports.
#pragma once

#include "stream.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>

#include <cstddef>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

namespace sidecar::stream {

/// Reads and discards until the peer ends its half of the stream, or has sent `max_bytes`. Closing a
/// socket with unread bytes would reset the connection, which could destroy our last word before
/// the peer has read it. In the background, since a read takes no deadline; the stream's abort()
/// ends it. Side: the loop's thread.
class Discard {
public:
    Discard(std::shared_ptr<Stream> stream, std::size_t max_bytes)
    {
        const auto executor = stream->executor();
        boost::asio::co_spawn(executor, run(std::move(stream), state_, max_bytes),
                              [](std::exception_ptr) {});
    }

    /// Waits for its end, at most until the deadline. Throws system_error if the awaiting coroutine
    /// is cancelled.
    [[nodiscard]] Task<> wait(Context ctx, TimePoint deadline) const
    {
        for (bool is_in_time = true; is_in_time && !state_->is_over;)
            is_in_time = co_await ctx.wait(state_->changed, deadline);
    }

private:
    struct State {
        bool is_over = false; // sidecar side
        LoopEvent changed{};  // sidecar side
    };

    static Task<> run(std::shared_ptr<Stream> stream, std::shared_ptr<State> state,
                      std::size_t max_bytes)
    {
        std::vector<std::byte> buffer(16u << 10);
        error_code ec;
        for (std::size_t total = 0; !ec && !stream->is_aborted() && total < max_bytes;) {
            const ReadBuffers into{boost::asio::buffer(buffer)};
            total += co_await stream->read_some(into, ec);
        }
        state->is_over = true;
        state->changed.set();
    }

    const std::shared_ptr<State> state_ = std::make_shared<State>(); // sidecar side
};

} // namespace sidecar::stream
