#include "deflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <utility>

namespace sidecar::websocket {
namespace {

/// The sender removes it, RFC 7692 section 7.2.1: the end of an empty stored block.
constexpr std::array<std::byte, 4> tail{std::byte{0}, std::byte{0}, std::byte{0xff},
                                        std::byte{0xff}};

/// Shorter last parts are inflated together with the tail: one call less.
constexpr std::size_t max_joined = 4096;

/// About zlib's figures in zconf.h: the window, and its state.
constexpr std::size_t stream_bytes = (32u << 10) + (9u << 10);

/// zlib counts in unsigned int.
constexpr std::size_t max_at_once = 1u << 30;

/// Each message ends with these bytes after a flush; they are not sent.
constexpr std::size_t tail_bytes = 4;

/// zlib refuses a window of 256 bytes for raw streams, or uses 512. That suits a peer with 256 too:
/// zlib refers no further back than its window less 262 bytes (MIN_LOOKAHEAD in its deflate.h),
/// here 250.
constexpr int min_bits_of_zlib = 9;

/// The compressed piece; one for each thread.
thread_local Assembly output;

} // namespace

// --- inflating

/// zlib's state. Invariant: between two calls either no block has ended the stream, or has_ended_.
class Inflater::Stream {
public:
    Stream()
    {
        if (::inflateInit2(&z_, -MAX_WBITS) != Z_OK)
            throw std::bad_alloc{};
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() { ::inflateEnd(&z_); }

    void give(std::span<const std::byte> bytes) noexcept
    {
        z_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
        z_.avail_in = static_cast<uInt>(bytes.size());
    }
    [[nodiscard]] std::size_t unread_bytes() const noexcept { return z_.avail_in; }
    struct Step {
        std::size_t written_bytes;
        bool has_failed;
        bool has_more; ///< bytes already given may yield more
    };
    [[nodiscard]] Step step(std::span<std::byte> to)
    {
        const auto room = static_cast<uInt>(std::min(to.size(), max_at_once));
        z_.next_out = reinterpret_cast<Bytef*>(to.data());
        z_.avail_out = room;
        const auto code = ::inflate(&z_, Z_SYNC_FLUSH);
        if (code == Z_MEM_ERROR)
            throw std::bad_alloc{};
        has_ended_ = code == Z_STREAM_END;
        if (code != Z_BUF_ERROR) // after a call that did nothing data_type says nothing
            is_between_blocks_ =
                has_ended_ || (z_.data_type & (before_head | unused_bits)) == before_head;
        return {.written_bytes = room - z_.avail_out,
                .has_failed = code != Z_OK && code != Z_BUF_ERROR && !has_ended_,
                .has_more = !has_ended_ && (z_.avail_in != 0 || z_.avail_out == 0)};
    }
    /// Whether the last block was final for its stream (BFINAL).
    [[nodiscard]] bool has_ended() const noexcept { return has_ended_; }
    /// Continues with another stream, which may refer to the bytes before it (RFC 7692 section
    /// 7.2.3.4).
    void go_on() noexcept
    {
        ::inflateResetKeep(&z_);
        has_ended_ = false;
    }
    /// Whether all blocks that began have ended, at a byte boundary.
    [[nodiscard]] bool is_between_blocks() const noexcept { return is_between_blocks_; }
    void forget() noexcept
    {
        ::inflateReset(&z_);
        has_ended_ = false;
    }
    [[nodiscard]] std::string_view fault() const noexcept
    {
        return z_.msg ? std::string_view{z_.msg} : std::string_view{"not in order"};
    }

    /// One for each thread.
    static thread_local std::unique_ptr<Stream> spare;

private:
    /// Bits of data_type.
    static constexpr int before_head = 128, unused_bits = 7;

    z_stream z_{};                   // sidecar side
    bool has_ended_ = false;         // sidecar side
    bool is_between_blocks_ = false; // sidecar side
};

thread_local std::unique_ptr<Inflater::Stream> Inflater::Stream::spare;

Inflater::Inflater(bool keeps_context) noexcept : keeps_context_{keeps_context} {}
Inflater::~Inflater() = default;

void Inflater::begin()
{
    is_under_way_ = true;
    taken_bytes_ = 0;
    if (!stream_ && !keeps_context_)
        stream_ = std::move(Stream::spare);
    if (!stream_)
        stream_ = std::make_unique<Stream>();
    if (stream_->has_ended())
        stream_->go_on();
}

Inflater::Verdict Inflater::inflate(std::span<const std::byte> bytes, bool is_last, Assembly& out,
                                    std::size_t max_bytes)
{
    taken_bytes_ += bytes.size();
    const bool is_joined = is_last && bytes.size() <= max_joined;
    auto verdict = Verdict::good;
    while (!is_joined && !bytes.empty() && verdict == Verdict::good) {
        const auto part = bytes.first(std::min(bytes.size(), max_at_once));
        verdict = run(part, 0, out, max_bytes);
        bytes = bytes.subspan(part.size());
    }
    if (is_last && taken_bytes_ != 0 && verdict == Verdict::good)
        verdict = run_tail(bytes, out, max_bytes);
    if (is_last && verdict == Verdict::good)
        end();
    return verdict;
}

/// Inflates the last bytes, at most max_joined, and the tail.
Inflater::Verdict Inflater::run_tail(std::span<const std::byte> bytes, Assembly& out,
                                     std::size_t max_bytes)
{
    std::array<std::byte, max_joined + tail.size()> joined;
    std::copy(tail.begin(), tail.end(), std::copy(bytes.begin(), bytes.end(), joined.begin()));
    const auto verdict =
        run(std::span{joined}.first(bytes.size() + tail.size()), tail.size(), out, max_bytes);
    if (verdict != Verdict::good || stream_->is_between_blocks())
        return verdict;
    fault_ = "it ends within a block";
    return Verdict::bad;
}

void Inflater::end() noexcept
{
    is_under_way_ = false;
    if (keeps_context_)
        return;
    stream_->forget();
    if (!Stream::spare)
        Stream::spare = std::move(stream_);
    stream_.reset();
}

/// Inflates `bytes`. Leaves their last `tail_bytes` unread if a final block ends right before them.
Inflater::Verdict Inflater::run(std::span<const std::byte> bytes, std::size_t tail_bytes,
                                Assembly& out, std::size_t max_bytes)
{
    stream_->give(bytes);
    for (bool has_more = true; has_more;) {
        if (stream_->has_ended()) {
            if (stream_->unread_bytes() == tail_bytes)
                break;
            stream_->go_on();
        }
        std::byte beyond{};
        const bool is_full = out.size() == max_bytes;
        const auto step = stream_->step(is_full ? std::span{&beyond, 1} : out.prepare(max_bytes));
        if (is_full && step.written_bytes != 0)
            return Verdict::too_large;
        if (!is_full)
            out.commit(step.written_bytes);
        if (step.has_failed) {
            fault_ = stream_->fault();
            return Verdict::bad;
        }
        has_more = step.has_more || stream_->has_ended();
    }
    return Verdict::good;
}

std::size_t Inflater::max_further_bytes(std::size_t max_bytes) const noexcept
{
    constexpr auto largest = std::numeric_limits<std::size_t>::max();
    const auto most = max_bytes > largest / 16 ? largest : 8 * max_bytes + 1024;
    return most - std::min(most, taken_bytes_);
}

std::size_t Inflater::held_bytes() const noexcept { return stream_ ? stream_bytes : 0; }

// --- deflating

/// zlib's state and the parameters that it was made for.
class Deflater::Stream {
public:
    explicit Stream(const Deflation& agreed)
        : window_bits_{agreed.window_bits}, level_{agreed.level}, mem_level_{agreed.mem_level}
    {
        const auto code =
            ::deflateInit2(&z_, level_, Z_DEFLATED, -std::max(window_bits_, min_bits_of_zlib),
                           mem_level_, Z_DEFAULT_STRATEGY);
        if (code != Z_OK)
            throw std::bad_alloc{};
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() { ::deflateEnd(&z_); }

    [[nodiscard]] bool is_for(const Deflation& agreed) const noexcept
    {
        return window_bits_ == agreed.window_bits && level_ == agreed.level
               && mem_level_ == agreed.mem_level;
    }
    /// Compresses the whole piece, with a flush, into `output`.
    void run(std::span<const std::byte> piece)
    {
        output.clear();
        z_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(piece.data()));
        z_.avail_in = static_cast<uInt>(piece.size());
        do { // there is always room for more than the flush's few bytes
            const auto room = output.prepare(max_at_once);
            z_.next_out = reinterpret_cast<Bytef*>(room.data());
            z_.avail_out = static_cast<uInt>(room.size());
            (void)::deflate(&z_, Z_SYNC_FLUSH);
            output.commit(room.size() - z_.avail_out);
        } while (z_.avail_out == 0);
    }
    void forget() noexcept { ::deflateReset(&z_); }

    /// One for each thread.
    static thread_local std::unique_ptr<Stream> spare;

private:
    z_stream z_{};          // sidecar side
    const int window_bits_; // sidecar side
    const int level_;       // sidecar side
    const int mem_level_;   // sidecar side
};

thread_local std::unique_ptr<Deflater::Stream> Deflater::Stream::spare;

Deflater::Deflater(const Deflation& agreed) noexcept : agreed_{agreed} {}
Deflater::~Deflater() = default;

std::span<const std::byte> Deflater::deflate(std::span<const std::byte> piece, bool is_last)
{
    if (!stream_ && !agreed_.keeps_context && Stream::spare && Stream::spare->is_for(agreed_))
        stream_ = std::move(Stream::spare);
    if (!stream_)
        stream_ = std::make_unique<Stream>(agreed_);
    stream_->run(piece);
    if (is_last && !agreed_.keeps_context)
        release();
    return output.bytes().first(output.size() - (is_last ? tail_bytes : 0));
}

void Deflater::discard() noexcept
{
    if (!stream_)
        return;
    if (agreed_.keeps_context)
        stream_->forget();
    else
        release();
}

void Deflater::release() noexcept
{
    stream_->forget();
    Stream::spare = std::move(stream_);
}

std::size_t Deflater::held_bytes() const noexcept
{
    if (!stream_)
        return 0;
    const int bits = std::max(agreed_.window_bits, min_bits_of_zlib);
    return (std::size_t{1} << (bits + 2)) + (std::size_t{1} << (agreed_.mem_level + 9));
}

} // namespace sidecar::websocket
