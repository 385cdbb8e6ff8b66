#include "format.hpp"

#include <sidecar/transports/recording_reader.hpp>

#include <fmt/format.h>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sidecar {

using namespace recording;

namespace {

constexpr auto read_attempt = "read the recording";

/// Times beyond this are damage; sums of them do not overflow.
constexpr std::int64_t max_time = std::int64_t{1} << 61;

} // namespace

struct RecordingReader::Impl {
    explicit Impl(std::string name) : file{std::move(name)} {}

    const std::string file;
    Descriptor descriptor{};
    std::uint64_t offset = file_header_bytes;      // of the block in `block`, or of the next one
    std::uint64_t next_offset = file_header_bytes; // of the next one
    std::vector<std::byte> block{};                // its content
    Bytes rest{};                                  // of its content
    std::optional<Failure> failure{};              // what next() returns from now on
    std::uint32_t connection = 0;
    bool is_up = false;          // `connection` was connected
    Duration connection_began{}; // since the first entry of the file
    Duration last{};             // the time of the last entry
    std::optional<std::int64_t> first_wall{};
    std::int64_t wall = 0; // when the connection began

    [[nodiscard]] Failure damaged(std::string_view why) const
    {
        return failed(Error::protocol_violation, read_attempt, file,
                      fmt::format("{} at offset {}", why, offset));
    }

    [[nodiscard]] Failure wrong_entry() const
    {
        return damaged("the file is damaged: an entry is wrong in the block");
    }

    /// Reads the next block. Returns false if the file is over.
    [[nodiscard]] Result<bool> read_block()
    {
        offset = next_offset;
        std::array<std::byte, block_header_bytes> head;
        auto count = read_fully(descriptor.get(), head);
        if (count == 0)
            return false;
        if (count < 0)
            return failed(Error::protocol_violation, read_attempt, file,
                          fmt::format("at offset {}", offset), static_cast<int>(-count));
        if (static_cast<std::size_t>(count) < head.size())
            return damaged("the file is truncated");
        const auto header = decode_header(head, offset);
        if (!header)
            return damaged("the file is damaged: no block begins");
        // In steps: the length may be wrong, and the memory is to be bounded by the file
        const auto wanted = std::size_t{header->content_bytes} + block_footer_bytes;
        block.clear();
        while (block.size() < wanted) {
            const auto had = block.size();
            block.resize(had + std::min(wanted - had, std::max(had, block_bytes)));
            count = read_fully(descriptor.get(), std::span{block}.subspan(had));
            if (count < 0)
                return failed(Error::protocol_violation, read_attempt, file,
                              fmt::format("at offset {}", offset), static_cast<int>(-count));
            if (static_cast<std::size_t>(count) < block.size() - had)
                return damaged("the file is truncated");
        }
        Decoder footer{Bytes{block}.subspan(header->content_bytes)};
        const auto content = Bytes{block}.first(header->content_bytes);
        if (footer.number<std::uint32_t>() != static_cast<std::uint32_t>(header->block_bytes())
            || crc32c(content) != header->content_crc)
            return damaged("the file is damaged: a checksum is wrong");
        rest = content;
        next_offset = offset + header->block_bytes();
        return true;
    }

    /// Decodes the fields that depend on the kind. Empty: a kind of a later version.
    [[nodiscard]] std::optional<RecordingEntry> decode(std::uint8_t kind, Decoder& in)
    {
        using Kind = RecordingEntry::Kind;
        RecordingEntry entry{.kind = static_cast<Kind>(kind)};
        switch (entry.kind) {
        case Kind::connecting:
            wall = in.number<std::int64_t>();
            entry.endpoint = in.text();
            break;
        case Kind::connected:
            entry.peer = in.text();
            entry.protocol = in.text();
            break;
        case Kind::received:
        case Kind::sent: {
            const auto message_kind = in.number<std::uint8_t>();
            if (message_kind > 1)
                in.set_bad();
            entry.message_kind = message_kind == 0 ? MessageKind::text : MessageKind::binary;
            entry.payload = in.rest();
            break;
        }
        case Kind::ping:
        case Kind::pong: entry.payload = in.rest(); break;
        case Kind::closing:
            entry.close.code = in.number<std::uint16_t>();
            entry.close.reason = in.text();
            break;
        case Kind::ended: {
            const auto end = in.number<std::uint8_t>();
            if (end > static_cast<std::uint8_t>(RecordedEnd::dropped))
                in.set_bad();
            entry.end = static_cast<RecordedEnd>(end);
            if (entry.end == RecordedEnd::failed)
                entry.failure = decode_failure(in);
            break;
        }
        case Kind::lost: entry.lost = in.number<std::uint64_t>(); break;
        default: return std::nullopt;
        }
        return entry;
    }

    /// Sets the times, and the number of the connection. False: the times are impossible.
    [[nodiscard]] bool place(RecordingEntry& entry, std::int64_t time)
    {
        using Kind = RecordingEntry::Kind;
        if (entry.kind == Kind::connecting) {
            if (!first_wall)
                first_wall = wall;
            // The wall clock joins the runs of a program; it may have been set back
            connection_began = std::max(last, Duration{wall - *first_wall});
            if (connection == 0 || is_up)
                ++connection;
            is_up = false;
        }
        if (entry.kind == Kind::connected)
            is_up = true;
        entry.connection = connection;
        last = std::max(last, connection_began + Duration{time});
        entry.time = last;
        if (last.count() > max_time)
            return false;
        entry.wall = std::chrono::system_clock::time_point{
            std::chrono::duration_cast<std::chrono::system_clock::duration>(Duration{wall + time})};
        return true;
    }

    [[nodiscard]] Result<std::optional<RecordingEntry>> next()
    {
        for (;;) {
            while (rest.empty()) {
                const auto has_block = read_block();
                if (!has_block)
                    return has_block.error();
                if (!*has_block)
                    return std::optional<RecordingEntry>{};
            }
            Decoder in{rest};
            Decoder content{in.bytes(in.number<std::uint32_t>())};
            rest = in.rest();
            const auto kind = content.number<std::uint8_t>();
            const auto time = content.number<std::int64_t>();
            auto entry = decode(kind, content);
            const bool has_began = first_wall
                                   || kind == static_cast<int>(RecordingEntry::Kind::connecting)
                                   || kind == static_cast<int>(RecordingEntry::Kind::lost);
            if (in.is_bad() || content.is_bad() || !has_began || time < 0 || time > max_time
                || wall < 0 || wall > max_time)
                return wrong_entry();
            if (!entry)
                continue;
            if (!place(*entry, time))
                return wrong_entry();
            return entry;
        }
    }
};

RecordingReader::RecordingReader(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
RecordingReader::RecordingReader(RecordingReader&&) noexcept = default;
RecordingReader& RecordingReader::operator=(RecordingReader&&) noexcept = default;
RecordingReader::~RecordingReader() = default;

Result<RecordingReader> RecordingReader::open(const std::string& file)
{
    const auto refused = [&](std::string why, int error = 0) {
        return failed(Error::bad_options, read_attempt, file, std::move(why), error);
    };
    if (file.find('\0') != file.npos)
        return refused("its name has a zero byte");
    auto impl = std::make_unique<Impl>(file);
    impl->descriptor = Descriptor{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)};
    if (impl->descriptor.get() < 0)
        return refused({}, errno);
    std::array<std::byte, file_header_bytes> header;
    const auto count = read_fully(impl->descriptor.get(), header);
    if (count < 0)
        return refused({}, static_cast<int>(-count));
    if (auto why = check_file_header(Bytes{header}.first(static_cast<std::size_t>(count)));
        !why.empty())
        return refused(std::move(why));
    return RecordingReader{std::move(impl)};
}

Result<std::optional<RecordingEntry>> RecordingReader::next()
{
    if (impl_->failure)
        return *impl_->failure;
    auto entry = impl_->next();
    if (!entry)
        impl_->failure = entry.error();
    return entry;
}

std::uint64_t RecordingReader::offset() const noexcept { return impl_->offset; }

std::string_view to_string(RecordingEntry::Kind kind) noexcept
{
    using Kind = RecordingEntry::Kind;
    switch (kind) {
    case Kind::connecting: return "connecting";
    case Kind::connected: return "connected";
    case Kind::received: return "received";
    case Kind::sent: return "sent";
    case Kind::ping: return "ping";
    case Kind::pong: return "pong";
    case Kind::closing: return "closing";
    case Kind::ended: return "ended";
    case Kind::lost: return "lost";
    }
    return "unknown";
}

} // namespace sidecar
