// The format of a recording, which docs/recording.md describes: numbers, blocks, failures. Pure.
#pragma once

#include <sidecar/error.hpp>
#include <sidecar/transports/recording_reader.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar::recording {

using Bytes = std::span<const std::byte>;

inline constexpr std::uint32_t format_version = 1;
inline constexpr std::size_t file_header_bytes = 16;
inline constexpr std::size_t block_header_bytes = 24;
inline constexpr std::size_t block_footer_bytes = 4;
inline constexpr std::size_t entry_header_bytes = 4 + 1 + 8; ///< length, kind, time
/// The content of a block ends with the entry that reaches this size.
inline constexpr std::size_t block_bytes = std::size_t{64} << 10;

/// CRC-32C (RFC 3720, appendix B.4).
[[nodiscard]] std::uint32_t crc32c(Bytes bytes) noexcept;

/// Appends numbers, little-endian, and texts with their length before them.
class Encoder {
public:
    explicit Encoder(std::vector<std::byte>& out) noexcept : out_{out} {}
    template <class Number>
    void number(Number value)
    {
        for (std::size_t i = 0; i < sizeof(Number); ++i)
            out_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i)));
    }
    void bytes(Bytes more) { out_.insert(out_.end(), more.begin(), more.end()); }
    void text(std::string_view more)
    {
        number(static_cast<std::uint32_t>(more.size()));
        bytes(std::as_bytes(std::span{more}));
    }

private:
    std::vector<std::byte>& out_;
};

/// Takes numbers and texts from the front of bytes. After a look behind the end it is_bad(), and
/// returns zeros.
class Decoder {
public:
    explicit Decoder(Bytes bytes) noexcept : rest_{bytes} {}
    template <class Number>
    [[nodiscard]] Number number() noexcept
    {
        std::uint64_t value = 0;
        const auto taken = bytes(sizeof(Number));
        for (std::size_t i = 0; i < taken.size(); ++i)
            value |= std::to_integer<std::uint64_t>(taken[i]) << (8 * i);
        return static_cast<Number>(value);
    }
    [[nodiscard]] Bytes bytes(std::size_t count) noexcept;
    [[nodiscard]] std::string_view text() noexcept
    {
        const auto taken = bytes(number<std::uint32_t>());
        return {reinterpret_cast<const char*>(taken.data()), taken.size()};
    }
    [[nodiscard]] Bytes rest() const noexcept { return rest_; }
    [[nodiscard]] bool is_bad() const noexcept { return is_bad_; }
    void set_bad() noexcept { is_bad_ = true; }

private:
    Bytes rest_;
    bool is_bad_ = false;
};

[[nodiscard]] std::array<std::byte, file_header_bytes> file_header() noexcept;
/// Returns why the file is no recording for this version; empty: it is one.
[[nodiscard]] std::string check_file_header(Bytes header);

struct BlockHeader {
    std::uint32_t content_bytes = 0;
    std::uint32_t content_crc = 0;
    [[nodiscard]] std::uint64_t block_bytes() const noexcept
    {
        return block_header_bytes + std::uint64_t{content_bytes} + block_footer_bytes;
    }
};
/// `offset`: of the block in the file.
[[nodiscard]] std::array<std::byte, block_header_bytes> encode_header(
    const BlockHeader& header, std::uint64_t offset) noexcept;
/// Empty: it is no header of a block at this offset.
[[nodiscard]] std::optional<BlockHeader> decode_header(Bytes bytes, std::uint64_t offset) noexcept;

void encode(Encoder& out, const Failure& failure);
[[nodiscard]] Failure decode_failure(Decoder& in);

[[nodiscard]] Failure failed(Error code, const char* attempted, const std::string& file,
                             std::string explanation, int system_error = 0);

/// A file descriptor with its owner.
class Descriptor {
public:
    explicit Descriptor(int fd = -1) noexcept : fd_{fd} {}
    Descriptor(Descriptor&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
    Descriptor& operator=(Descriptor&& other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor();
    [[nodiscard]] int get() const noexcept { return fd_; }

private:
    int fd_;
};

/// Reads as many bytes as there are, at most all of `into`. Negative: errno.
[[nodiscard]] std::ptrdiff_t read_fully(int fd, std::span<std::byte> into) noexcept;

} // namespace sidecar::recording
