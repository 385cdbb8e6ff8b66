#include "deflate.hpp"

#include <zlib.h>

#include <algorithm>
#include <new>
#include <utility>

namespace sidecar::websocket {
namespace {

/// What each message ends with after a flush, and is not sent.
constexpr std::size_t tail_bytes = 4;

/// zlib refuses a window of 256 bytes for raw streams, and takes 512 where it does not. That is
/// right for a peer with 256 too: zlib never refers further back than its window less 262 bytes
/// (MIN_LOOKAHEAD in its deflate.h), here 250.
constexpr int min_bits_of_zlib = 9;

/// Room beyond deflateBound(), which does not count the flush.
constexpr std::size_t flush_bytes = 64;

/// More than this is not kept for the next piece.
constexpr std::size_t max_kept_output = 512u << 10;

/// Where a piece is compressed to; one for the thread. Never filled before it is written to.
struct Output {
    std::unique_ptr<std::byte[]> memory;
    std::size_t size = 0;

    void make_room(std::size_t bytes)
    {
        if (size >= bytes && size <= std::max(bytes, max_kept_output))
            return;
        memory.reset(new std::byte[bytes]);
        size = bytes;
    }
    void grow()
    {
        std::unique_ptr<std::byte[]> grown{new std::byte[2 * size]};
        std::copy_n(memory.get(), size, grown.get());
        memory = std::move(grown);
        size *= 2;
    }
};
thread_local Output output;

} // namespace

/// zlib's state, and what it was made for.
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
    /// All of the piece, and a flush; gives how many bytes of `output` that took.
    [[nodiscard]] std::size_t run(std::span<const std::byte> piece)
    {
        output.make_room(::deflateBound(&z_, piece.size()) + flush_bytes);
        z_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(piece.data()));
        z_.avail_in = static_cast<uInt>(piece.size());
        for (std::size_t written = 0;;) {
            const auto room = static_cast<uInt>(output.size - written);
            z_.next_out = reinterpret_cast<Bytef*>(output.memory.get() + written);
            z_.avail_out = room;
            (void)::deflate(&z_, Z_SYNC_FLUSH);
            written += room - z_.avail_out;
            if (z_.avail_out != 0)
                return written;
            output.grow();
        }
    }
    void forget() noexcept { ::deflateReset(&z_); }

    /// One for the thread.
    static thread_local std::unique_ptr<Stream> spare;

private:
    z_stream z_{};          // sidecar side
    const int window_bits_; // sidecar side
    const int level_;       // sidecar side
    const int mem_level_;   // sidecar side
};

thread_local std::unique_ptr<Deflater::Stream> Deflater::Stream::spare;

Deflater::Deflater(const Deflation& agreed) noexcept : agreed_{agreed} {}
Deflater::Deflater(Deflater&&) noexcept = default;
Deflater& Deflater::operator=(Deflater&&) noexcept = default;
Deflater::~Deflater() = default;

std::span<const std::byte> Deflater::deflate(std::span<const std::byte> piece, bool is_last)
{
    if (!stream_ && !agreed_.keeps_context && Stream::spare && Stream::spare->is_for(agreed_))
        stream_ = std::move(Stream::spare);
    if (!stream_)
        stream_ = std::make_unique<Stream>(agreed_);
    const auto size = stream_->run(piece);
    if (is_last && !agreed_.keeps_context)
        release();
    return std::span{output.memory.get(), is_last ? size - tail_bytes : size};
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
