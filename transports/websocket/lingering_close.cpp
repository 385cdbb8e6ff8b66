#include "lingering_close.hpp"

#include <sidecar/loop_event.hpp>

#include <boost/asio/co_spawn.hpp>

#include <cstddef>
#include <exception>
#include <utility>
#include <vector>

namespace sidecar::websocket {

namespace asio = boost::asio;

namespace {

/// A peer that sends more than this has not looked for our Close in a long time.
constexpr std::size_t max_discarded_bytes = 64u << 20;

struct Discarding {
    bool is_over = false; // sidecar side
    LoopEvent changed;    // sidecar side
};

/// In the background: a read cannot be waited for with a deadline. The stream's abort() ends it.
Task<> discard(std::shared_ptr<stream::Stream> stream, std::shared_ptr<Discarding> state)
{
    std::vector<std::byte> buffer(16u << 10);
    error_code ec;
    for (std::size_t total = 0; !ec && !stream->is_aborted() && total < max_discarded_bytes;) {
        const stream::ReadBuffers into{asio::buffer(buffer)};
        total += co_await stream->read_some(into, ec);
    }
    state->is_over = true;
    state->changed.set();
}

} // namespace

Task<> lingering_close(Context ctx, std::shared_ptr<stream::Stream> stream,
                       std::shared_ptr<stream::Writer> writer, TimePoint deadline)
{
    // From the beginning: a peer that waits for us to read would take no last word either.
    auto state = std::make_shared<Discarding>();
    asio::co_spawn(stream->executor(), discard(stream, state), [](std::exception_ptr) {});
    bool is_in_time = false;
    try {
        is_in_time = co_await writer->shut_down(ctx, deadline);
    } catch (const boost::system::system_error&) { // nobody is there to read it
    }
    while (is_in_time && !state->is_over)
        is_in_time = co_await ctx.wait(state->changed, deadline);
}

} // namespace sidecar::websocket
