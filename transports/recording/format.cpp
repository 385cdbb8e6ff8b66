#include "format.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

namespace sidecar::recording {
namespace {

/// The first byte is no text, so that a conversion of line ends damages it.
constexpr std::array<unsigned char, 8> magic{0x89, 'S', 'I', 'D', 'E', 'C', 'A', 'R'};
constexpr std::uint32_t block_mark = 0x4b4c4253; // "SBLK"

constexpr std::array<std::uint32_t, 256> make_crc_table()
{
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        auto value = i;
        for (int bit = 0; bit < 8; ++bit)
            value = value >> 1 ^ ((value & 1) != 0 ? 0x82f63b78u : 0);
        table[i] = value;
    }
    return table;
}
constexpr auto crc_table = make_crc_table();

/// Categories whose numbers mean the same wherever a recording is read. Of others the text is kept.
const boost::system::error_category* category_of(std::string_view name)
{
    using namespace boost::asio::error;
    for (const auto* category :
         {&boost::system::system_category(), &boost::system::generic_category(),
          &get_misc_category(), &get_netdb_category(), &get_addrinfo_category(), &error_category()})
        if (category->name() == name)
            return category;
    return nullptr;
}

enum FailureFlags : std::uint8_t { has_passing = 1, passing = 2, has_retry_after = 4 };

} // namespace

std::uint32_t crc32c(Bytes bytes) noexcept
{
    auto crc = ~std::uint32_t{0};
    for (const auto byte : bytes)
        crc = crc_table[(crc ^ std::to_integer<std::uint32_t>(byte)) & 0xff] ^ crc >> 8;
    return ~crc;
}

Bytes Decoder::bytes(std::size_t count) noexcept
{
    if (count > rest_.size()) {
        is_bad_ = true;
        rest_ = {};
        return {};
    }
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
}

// --- the file and its blocks

std::array<std::byte, file_header_bytes> file_header() noexcept
{
    std::array<std::byte, file_header_bytes> header{};
    std::transform(magic.begin(), magic.end(), header.begin(),
                   [](unsigned char c) { return std::byte{c}; });
    const auto put = [&](std::size_t at, std::uint32_t value) {
        for (int i = 0; i < 4; ++i, value >>= 8)
            header[at++] = static_cast<std::byte>(value);
    };
    put(8, format_version);
    put(12, crc32c(Bytes{header}.first(12)));
    return header;
}

std::string check_file_header(Bytes header)
{
    const auto expected = file_header();
    const auto is_equal = [&](std::size_t count) {
        return header.size() >= count
               && std::equal(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(count),
                             expected.begin());
    };
    if (!is_equal(magic.size()))
        return header.empty() ? "it is empty" : "it is no recording";
    if (header.size() < file_header_bytes)
        return "it is truncated in its first 16 bytes";
    Decoder rest{header.subspan(magic.size())};
    const auto version = rest.number<std::uint32_t>();
    if (rest.number<std::uint32_t>() != crc32c(header.first(12)))
        return "its first 16 bytes are damaged";
    if (version != format_version)
        return fmt::format("its format has version {}, and this program reads version {}", version,
                           format_version);
    return {};
}

std::array<std::byte, block_header_bytes> encode_header(const BlockHeader& header,
                                                        std::uint64_t offset) noexcept
{
    std::array<std::byte, block_header_bytes> bytes{};
    auto at = bytes.begin();
    const auto put = [&](auto value) {
        for (std::size_t i = 0; i < sizeof value; ++i)
            *at++ = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i));
    };
    put(block_mark);
    put(header.content_bytes);
    put(offset);
    put(header.content_crc);
    put(crc32c(Bytes{bytes}.first(20)));
    return bytes;
}

std::optional<BlockHeader> decode_header(Bytes bytes, std::uint64_t offset) noexcept
{
    Decoder in{bytes};
    const auto mark = in.number<std::uint32_t>();
    BlockHeader header{.content_bytes = in.number<std::uint32_t>()};
    const auto its_offset = in.number<std::uint64_t>();
    header.content_crc = in.number<std::uint32_t>();
    const auto header_crc = in.number<std::uint32_t>();
    if (in.is_bad() || mark != block_mark || its_offset != offset
        || header_crc != crc32c(bytes.first(20)))
        return std::nullopt;
    return header;
}

// --- failures

void encode(Encoder& out, const Failure& failure)
{
    const auto cause = failure.cause();
    const bool is_known =
        cause.category() == error_category() || category_of(cause.category().name());
    out.number(static_cast<std::uint16_t>(failure.error()));
    out.number(static_cast<std::uint8_t>((failure.is_passing() ? has_passing : 0)
                                         | (failure.is_passing().value_or(false) ? passing : 0)
                                         | (failure.retry_after() ? has_retry_after : 0)));
    out.number(failure.close_code());
    out.number(failure.http_status());
    out.number(failure.retry_after().value_or(std::chrono::seconds{}).count());
    out.number(static_cast<std::int32_t>(cause.value()));
    out.text(cause ? cause.category().name() : "");
    out.text(cause && !is_known ? cause.message() : "");
    out.text(failure.attempted());
    out.text(failure.endpoint());
    out.text(failure.explanation());
    out.text(failure.close_reason());
}

Failure decode_failure(Decoder& in)
{
    const auto error = in.number<std::uint16_t>();
    const auto flags = in.number<std::uint8_t>();
    FailureDetails details;
    details.close_code = in.number<std::uint16_t>();
    details.http_status = in.number<std::uint16_t>();
    const auto retry_after = in.number<std::int64_t>();
    const auto cause = in.number<std::int32_t>();
    const auto* category = category_of(in.text());
    const auto cause_text = in.text();
    details.attempted = in.text();
    details.endpoint = in.text();
    details.explanation = in.text();
    details.close_reason = in.text();
    if (category && cause != 0)
        details.cause = {cause, *category};
    else if (!cause_text.empty())
        details.explanation += (details.explanation.empty() ? "" : ": ") + std::string{cause_text};
    if ((flags & has_passing) != 0)
        details.is_passing = (flags & passing) != 0;
    if ((flags & has_retry_after) != 0)
        details.retry_after = std::chrono::seconds{retry_after};
    if (error == 0)
        in.set_bad();
    return {static_cast<Error>(error), std::move(details)};
}

Failure failed(Error code, const char* attempted, const std::string& file, std::string explanation,
               int system_error)
{
    FailureDetails details{
        .attempted = attempted, .endpoint = file, .explanation = std::move(explanation)};
    if (system_error != 0)
        details.cause = {system_error, boost::system::system_category()};
    details.is_passing = false;
    return {code, std::move(details)};
}

// --- descriptors

Descriptor::~Descriptor()
{
    if (fd_ >= 0)
        ::close(fd_);
}

std::ptrdiff_t read_fully(int fd, std::span<std::byte> into) noexcept
{
    std::size_t count = 0;
    while (count < into.size()) {
        const auto taken = ::read(fd, into.data() + count, into.size() - count);
        if (taken == 0)
            break;
        if (taken > 0)
            count += static_cast<std::size_t>(taken);
        else if (errno != EINTR)
            return -errno;
    }
    return static_cast<std::ptrdiff_t>(count);
}

} // namespace sidecar::recording
