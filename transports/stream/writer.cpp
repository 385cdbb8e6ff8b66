#include "writer.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace sidecar::stream {

namespace asio = boost::asio;

namespace {

/// A larger chunk is not kept for the next batch.
constexpr std::size_t max_lent_bytes = 1u << 20;

/// The largest chunk that is written without a suspension, and how many at most in a row.
constexpr std::size_t max_tried_bytes = 16u << 10;
constexpr unsigned max_tries = 8;

/// Each link has its own memory for control bytes, so it keeps only a little.
constexpr std::size_t kept_control_bytes = 64;

/// One for each thread, shared by all links of its loop: steady batches allocate nothing, and an
/// idle link holds none.
thread_local std::unique_ptr<Chunk> spare_chunk;

std::unique_ptr<Chunk> acquire_chunk()
{
    return spare_chunk ? std::move(spare_chunk) : std::make_unique<Chunk>();
}

void release(std::unique_ptr<Chunk> chunk)
{
    const auto bytes = chunk->capacity_bytes();
    if (bytes > max_lent_bytes || (spare_chunk && spare_chunk->capacity_bytes() >= bytes))
        return;
    chunk->clear();
    spare_chunk = std::move(chunk);
}

} // namespace

Writer::Writer(std::shared_ptr<Stream> stream) : stream_{std::move(stream)} {}
Writer::~Writer() = default;

Task<> Writer::write(Batch batch, Encoder& encoder)
{
    const auto self = shared_from_this();
    const auto end = batch.end();
    bool is_within_message = false;                   // a fragment of it is written
    const auto cut_short = [&batch](bool is_within) { // by the last word
        if (!is_within)
            batch.mark_rest_unwritten();
        return boost::system::system_error{asio::error::operation_aborted};
    };
    for (auto at = batch.begin(); at != end;) {
        while (is_pumping_) // control bytes in the background
            co_await waiters_.wait();
        if (error_)
            throw boost::system::system_error{error_};
        if (is_finished_)
            throw cut_short(is_within_message);
        auto chunk = acquire_chunk();
        encoder.encode(*chunk, at, end);
        const auto total = chunk->total_bytes();
        const bool ends_in_fragment = chunk->ends().empty() || chunk->ends().back() != total;
        chunk_ = std::move(chunk);
        is_pumping_ = true;
        co_await pump(&batch);
        if (error_)
            throw boost::system::system_error{error_};
        if (written_ < total)
            throw cut_short(is_within_message && written_ == 0);
        is_within_message = ends_in_fragment;
    }
}

void Writer::answer(std::span<const std::byte> bytes)
{
    if (is_finished_ || error_)
        return;
    if (answers_ == max_answers)
        control_.resize(last_answer_at_);
    else
        ++answers_;
    last_answer_at_ = control_.size();
    control_.insert(control_.end(), bytes.begin(), bytes.end());
    start_pumping();
}

void Writer::ask(std::span<const std::byte> bytes)
{
    if (is_finished_ || error_)
        return;
    question_.assign(bytes.begin(), bytes.end());
    start_pumping();
}

void Writer::finish(std::span<const std::byte> last_word)
{
    if (std::exchange(is_finished_, true))
        return;
    question_.clear(); // nobody awaits its answer now
    if (error_ || last_word.empty())
        return;
    control_.insert(control_.end(), last_word.begin(), last_word.end());
    start_pumping();
}

Task<bool> Writer::wait_written(Context ctx, TimePoint deadline)
{
    const auto self = shared_from_this();
    bool is_in_time = true;
    while (is_in_time && !error_ && (queued_bytes() != 0 || (is_finished_ && is_pumping_)))
        is_in_time = co_await waiters_.wait(ctx, deadline);
    if (error_)
        throw boost::system::system_error{error_};
    co_return is_in_time;
}

/// Shuts down in the background, since shutdown() takes no deadline and TLS has to write.
Task<bool> Writer::shut_down(Context ctx, TimePoint deadline)
{
    const auto self = shared_from_this();
    bool is_in_time = co_await wait_written(ctx, deadline);
    if (!is_in_time)
        co_return false;
    asio::co_spawn(stream_->executor(), shut_down_in_background(self), [](std::exception_ptr) {});
    while (is_in_time && !is_shut_)
        is_in_time = co_await waiters_.wait(ctx, deadline);
    co_return is_in_time;
}

Task<> Writer::shut_down_in_background(std::shared_ptr<Writer> self)
{
    error_code ec; // ignored: the connection may already be gone
    co_await self->stream_->shutdown(ec);
    self->is_shut_ = true;
    self->waiters_.wake();
}

/// Writes the chunk and all control bytes. The caller has set is_pumping_. Throws nothing: failures
/// are in error_.
Task<> Writer::pump(const Batch* batch)
{
    written_ = marked_ = 0;
    try {
        Pieces pieces;
        for (auto now = next(pieces); !now.empty(); now = next(pieces)) {
            error_code ec;
            auto bytes = may_try(batch) ? stream_->try_write(now, ec) : 0;
            if (bytes == 0 && !ec) {
                tries_ = 0;
                bytes = co_await stream_->write_some(now, ec);
            }
            if (bytes != 0) // even before an error or an abort
                took(bytes, batch);
            if (stream_->is_aborted())
                ec = asio::error::operation_aborted;
            if (ec)
                throw boost::system::system_error{ec};
        }
        if (chunk_)
            release(std::move(chunk_));
    } catch (const boost::system::system_error& e) {
        // A message may be half written; the borrowed payloads must not be kept
        error_ = e.code();
        chunk_.reset();
        control_ = {};
        question_ = {};
        sending_ = {};
    }
    is_pumping_ = false;
    waiters_.wake();
}

/// A small batch costs less without a suspension. After some the loop goes on with others, so that a
/// link with much to write does not hold them.
bool Writer::may_try(const Batch* batch) noexcept
{
    if (!batch || !chunk_ || chunk_->total_bytes() > max_tried_bytes || tries_ == max_tries)
        return false;
    ++tries_;
    return true;
}

/// Returns the bytes of the next write_some(). Control bytes go between messages and fragments;
/// after finish() no further message or fragment begins.
std::span<const asio::const_buffer> Writer::next(Pieces& pieces)
{
    if (sending_.empty() && (!chunk_ || next_boundary(written_) == written_)) {
        std::swap(sending_, control_.empty() ? question_ : control_);
        answers_ = 0;
    }
    std::size_t count = 0;
    if (!sending_.empty()) {
        pieces[count++] = asio::buffer(sending_) + sent_;
    } else if (chunk_) {
        const bool is_cut = is_finished_ || !control_.empty() || !question_.empty();
        chunk_->for_each_piece(written_, is_cut ? next_boundary(written_) : chunk_->total_bytes(),
                               [&](std::span<const std::byte> piece) {
                                   pieces[count++] = asio::buffer(piece.data(), piece.size());
                               });
    }
    return std::span{pieces}.first(count);
}

void Writer::took(std::size_t bytes, const Batch* batch)
{
    taken_bytes_ += bytes;
    if (!sending_.empty()) {
        sent_ += bytes;
        if (sent_ < sending_.size())
            return;
        sent_ = 0;
        sending_.clear();
        if (sending_.capacity() > kept_control_bytes)
            sending_.shrink_to_fit();
        waiters_.wake();
        return;
    }
    written_ += bytes;
    const auto& ends = chunk_->ends();
    const auto unmarked = ends.begin() + static_cast<std::ptrdiff_t>(marked_);
    const auto count =
        static_cast<std::size_t>(std::upper_bound(unmarked, ends.end(), written_) - unmarked);
    marked_ += count;
    batch->mark_written(count);
}

/// Returns the first boundary of a message or fragment at `at` or behind it.
std::size_t Writer::next_boundary(std::size_t at) const
{
    if (at == 0)
        return 0;
    const auto& ends = chunk_->ends();
    const auto end = std::lower_bound(ends.begin(), ends.end(), at);
    return end == ends.end() ? chunk_->total_bytes() : *end;
}

Task<> Writer::pump_in_background(std::shared_ptr<Writer> self) { co_await self->pump(nullptr); }

void Writer::start_pumping()
{
    if (is_pumping_)
        return;
    is_pumping_ = true;
    asio::co_spawn(stream_->executor(), pump_in_background(shared_from_this()),
                   [](std::exception_ptr) {}); // failures are in error_
}

} // namespace sidecar::stream
