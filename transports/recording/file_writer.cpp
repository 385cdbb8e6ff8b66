#include "file_writer.hpp"

#include <sidecar/detail/signals_blocked.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <new>

namespace sidecar::recording {
namespace {

constexpr auto write_attempt = "write the recording";
/// An entry is on disk after this time.
constexpr auto flush_interval = std::chrono::seconds{1};
/// How long the end of a connection may wait for the disk.
constexpr auto patience = std::chrono::milliseconds{250};
/// A buffer that grew beyond this is freed.
constexpr std::size_t kept_bytes = std::size_t{1} << 20;
/// The length of a block has 32 bits.
constexpr std::size_t max_entry_bytes = 0xfff0'0000;
/// Beginnings and ends of connections are small, so they may pass the buffer's bound by this.
constexpr std::size_t reserve_bytes = std::size_t{64} << 10;

/// The writers of this process. Never destroyed: threads may end after main().
struct Writers {
    std::mutex mutex; // guards what follows
    std::vector<std::weak_ptr<FileWriter>> all;
};
Writers& writers()
{
    static auto& instance = *new Writers;
    return instance;
}

std::uint32_t number_at(Bytes bytes)
{
    Decoder in{bytes};
    return in.number<std::uint32_t>();
}

bool read_at(int fd, std::uint64_t offset, std::span<std::byte> into) noexcept
{
    return ::lseek(fd, static_cast<::off_t>(offset), SEEK_SET) >= 0
           && read_fully(fd, into) == static_cast<std::ptrdiff_t>(into.size());
}

} // namespace

// --- opening

Failure FileWriter::wrong(std::string why) const
{
    return failed(Error::bad_options, write_attempt, target_.file, std::move(why));
}

Failure FileWriter::refused(int error) const
{
    return {Error::bad_options,
            {.attempted = write_attempt,
             .endpoint = target_.file,
             .cause = {error, boost::system::system_category()},
             .is_passing = true}};
}

Result<void> FileWriter::open_file()
{
    if (target_.file.empty() || target_.file.find('\0') != std::string::npos)
        return wrong("the option file is empty, or has a zero byte");
    descriptor_ = Descriptor{
        ::open(target_.file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600)};
    struct ::stat status {};
    if (descriptor_.get() < 0 || ::fstat(descriptor_.get(), &status) != 0)
        return refused(errno);
    is_regular_ = S_ISREG(status.st_mode);
    if (!is_regular_ && !S_ISCHR(status.st_mode))
        return wrong("it is no regular file");
    device_ = status.st_dev;
    inode_ = status.st_ino;
    for (const auto& other : writers().all) {
        const auto writer = other.lock();
        if (!writer || !is_regular_ || writer->device_ != device_ || writer->inode_ != inode_)
            continue;
        if (writer->is_owned())
            return wrong("another link of this program records into this file; each needs its own");
        if (writer->is_ending())
            return refused(EBUSY); // the disk has not taken the connection before
    }
    if (is_regular_ && ::flock(descriptor_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return wrong("another program records into this file");
    return is_regular_ ? find_end(static_cast<std::uint64_t>(status.st_size)) : Result<void>{};
}

/// Finds the end of the last whole block, and cuts off what follows it.
Result<void> FileWriter::find_end(std::uint64_t file_bytes)
{
    const int fd = descriptor_.get();
    std::array<std::byte, file_header_bytes> head;
    const auto head_bytes = std::min<std::uint64_t>(file_bytes, head.size());
    if (!read_at(fd, 0, std::span{head}.first(head_bytes)))
        return refused(errno);
    const auto expected = file_header();
    const bool is_begun = std::equal(
        head.begin(), head.begin() + static_cast<std::ptrdiff_t>(head_bytes), expected.begin());
    if (file_bytes >= head.size() || !is_begun) {
        if (auto why = check_file_header(Bytes{head}.first(head_bytes)); !why.empty())
            return wrong(std::move(why));
        end_ = head.size();
    }
    if (file_bytes > head.size()) {
        auto is_whole = is_whole_at_end(file_bytes);
        if (!is_whole)
            return is_whole.error();
        if (*is_whole)
            end_ = file_bytes;
    }
    while (end_ != 0 && end_ != file_bytes) {
        std::array<std::byte, block_header_bytes> header;
        const auto rest = file_bytes - end_;
        if (rest < header.size())
            break;
        if (!read_at(fd, end_, header))
            return refused(errno);
        const auto block = decode_header(header, end_);
        if (!block || rest == block->block_bytes())
            return wrong(fmt::format("it is damaged at offset {}, so nothing is appended", end_));
        if (rest < block->block_bytes())
            break;
        end_ += block->block_bytes();
    }
    cut_bytes_ = file_bytes - end_;
    if (cut_bytes_ != 0 && ::ftruncate(fd, static_cast<::off_t>(end_)) != 0)
        return refused(errno);
    if (::lseek(fd, static_cast<::off_t>(end_), SEEK_SET) < 0)
        return refused(errno);
    return {};
}

/// Returns whether a whole block ends where the file does. Its length is in its last bytes.
Result<bool> FileWriter::is_whole_at_end(std::uint64_t file_bytes) const
{
    std::array<std::byte, block_footer_bytes> footer;
    if (!read_at(descriptor_.get(), file_bytes - footer.size(), footer))
        return refused(errno);
    const std::uint64_t bytes = number_at(footer);
    if (bytes < block_header_bytes + block_footer_bytes || bytes > file_bytes - file_header_bytes)
        return false;
    std::array<std::byte, block_header_bytes> head;
    if (!read_at(descriptor_.get(), file_bytes - bytes, head))
        return refused(errno);
    const auto header = decode_header(head, file_bytes - bytes);
    if (!header || header->block_bytes() != bytes)
        return false;
    std::vector<std::byte> content(header->content_bytes);
    if (!read_at(descriptor_.get(), file_bytes - bytes + head.size(), content))
        return refused(errno);
    return crc32c(content) == header->content_crc;
}

Result<void> FileWriter::check(const Target& target)
{
    FileWriter writer{target};
    const std::lock_guard lock{writers().mutex};
    auto opened = writer.open_file();
    writer.descriptor_ = Descriptor{}; // before another one may open it
    // The disk may have caught up when the link connects
    if (!opened && opened.error().cause() == boost::system::errc::device_or_resource_busy)
        return {};
    return opened;
}

Result<std::shared_ptr<FileWriter>> FileWriter::open(const Target& target)
{
    const std::lock_guard lock{writers().mutex};
    std::shared_ptr<FileWriter> writer{new FileWriter{target}};
    if (auto opened = writer->open_file(); !opened)
        return opened.error();
    writer->open_.reserve(block_bytes);
    auto& all = writers().all;
    std::erase_if(all, [](const auto& other) { return other.expired(); });
    all.push_back(writer);
    try {
        // SIGXFSZ too: a write beyond the limit of file sizes then fails with EFBIG
        const sidecar::detail::SignalsBlocked blocked;
        writer->thread_ = std::thread{[writer] { writer->run(); }};
    } catch (const std::system_error& error) {
        return writer->refused(error.code().value());
    }
    return writer;
}

FileWriter::~FileWriter()
{
    if (thread_.joinable()) // it is the last owner, after a finish() that did not wait for it
        thread_.detach();
}

bool FileWriter::is_owned() const
{
    const std::lock_guard lock{mutex_};
    return !is_finishing_;
}

bool FileWriter::is_ending() const
{
    const std::lock_guard lock{mutex_};
    return is_finishing_ && !has_ended_;
}

// --- the owner's side

void FileWriter::append(Kind kind, Duration time, Bytes head, Bytes payload, bool flushes) noexcept
{
    const bool is_small = kind == Kind::connecting || kind == Kind::connected
                          || kind == Kind::closing || kind == Kind::ended;
    const auto bytes = entry_header_bytes + head.size() + payload.size();
    const std::uint64_t lost = target_.counts.state()->unreported;
    bool has_begun = false;
    try {
        const std::lock_guard lock{mutex_};
        const auto pending = open_.size() + writing_bytes_;
        const auto bound = target_.buffer_bytes + (is_small ? reserve_bytes : 0);
        if (has_failed_ || bytes > max_entry_bytes
            || (pending != 0 && bytes > bound - std::min(bound, pending)))
            return lose(1);
        const auto before = open_.size();
        try {
            Encoder out{open_};
            const auto begin_entry = [&](Kind its_kind, std::size_t content_bytes) {
                out.number(static_cast<std::uint32_t>(1 + 8 + content_bytes));
                out.number(static_cast<std::uint8_t>(its_kind));
                out.number(time.count());
            };
            if (lost != 0) {
                begin_entry(Kind::lost, sizeof lost);
                out.number(lost);
            }
            begin_entry(kind, head.size() + payload.size());
            out.bytes(head);
            out.bytes(payload);
        } catch (...) {
            open_.resize(before);
            throw;
        }
        has_begun = before == 0;
        flushes_ = flushes_ || flushes;
        flushes = flushes || (before < write_bytes_ && open_.size() >= write_bytes_);
    } catch (...) { // no memory
        return lose(1);
    }
    target_.counts.state()->unreported -= lost;
    if (has_begun || flushes)
        changed_.notify_all();
}

void FileWriter::finish() noexcept
{
    bool has_ended = false;
    {
        std::unique_lock lock{mutex_};
        is_finishing_ = true;
        changed_.notify_all();
        has_ended = changed_.wait_for(lock, patience, [this] { return has_ended_; });
    }
    if (has_ended)
        thread_.join();
}

void FileWriter::lose(std::uint64_t entry_count, std::uint64_t earlier) noexcept
{
    auto& counts = *target_.counts.state();
    counts.lost += entry_count;
    counts.unreported += entry_count + earlier;
}

// --- the thread

void FileWriter::run() noexcept
{
    std::vector<std::byte> taken;
    try {
        taken.reserve(block_bytes);
    } catch (const std::bad_alloc&) { // it grows later, or never
    }
    std::unique_lock lock{mutex_};
    for (;;) {
        changed_.wait(lock, [this] { return !open_.empty() || is_finishing_; });
        if (open_.empty())
            break;
        changed_.wait_for(lock, flush_interval, [this] {
            return open_.size() >= write_bytes_ || flushes_ || is_finishing_;
        });
        flushes_ = false;
        std::swap(taken, open_);
        writing_bytes_ = taken.size();
        lock.unlock();
        write(taken);
        taken.clear();
        if (taken.capacity() > kept_bytes)
            taken = {};
        lock.lock();
        writing_bytes_ = 0;
    }
    descriptor_ = Descriptor{};
    has_ended_ = true;
    changed_.notify_all();
}

void FileWriter::write(const std::vector<std::byte>& entries) noexcept
{
    for (Bytes rest{entries}; !rest.empty();)
        write_block(rest);
}

void FileWriter::write_block(Bytes& entries) noexcept
{
    std::size_t bytes = 0;
    std::uint64_t count = 0, earlier = 0;
    while (bytes < std::min(block_bytes, entries.size())) {
        Decoder in{entries.subspan(bytes)};
        bytes += 4 + std::size_t{in.number<std::uint32_t>()};
        if (in.number<std::uint8_t>() != static_cast<std::uint8_t>(Kind::lost))
            ++count;
        else if (in.number<std::int64_t>() >= 0)
            earlier += in.number<std::uint64_t>();
    }
    const auto content = entries.first(bytes);
    entries = entries.subspan(bytes);
    const auto magic = file_header();
    const auto begin = std::max<std::uint64_t>(end_, magic.size());
    const BlockHeader header{.content_bytes = static_cast<std::uint32_t>(content.size()),
                             .content_crc = crc32c(content)};
    const auto head = encode_header(header, begin);
    std::array<std::byte, magic.size() + head.size()> both;
    std::copy(head.begin(), head.end(), std::copy(magic.begin(), magic.end(), both.begin()));
    if (has_failed_)
        return lose(count, earlier);
    const int error = write_all(Bytes{both}.subspan(end_ == 0 ? 0 : magic.size()), content);
    auto& counts = *target_.counts.state();
    if (error == 0) {
        counts.entries += count;
        counts.bytes += begin + header.block_bytes() - end_;
        end_ = begin + header.block_bytes();
        const std::lock_guard lock{counts.mutex};
        counts.failure.reset();
        return;
    }
    fail(error);
    lose(count, earlier);
}

/// Ends the recording: without the half of a block the file ends well.
void FileWriter::fail(int error) noexcept
{
    if (is_regular_ && ::ftruncate(descriptor_.get(), static_cast<::off_t>(end_)) == 0)
        ::lseek(descriptor_.get(), static_cast<::off_t>(end_), SEEK_SET);
    auto& counts = *target_.counts.state();
    try {
        auto why = refused(error);
        const std::lock_guard lock{counts.mutex};
        counts.failure = std::move(why);
    } catch (const std::bad_alloc&) {
    }
    has_failed_ = true; // last, so that a thread that sees it finds the failure
}

/// Writes a block. Returns 0, or errno.
int FileWriter::write_all(Bytes header, Bytes content) noexcept
{
    std::array<std::byte, block_footer_bytes> footer{};
    auto total = static_cast<std::uint32_t>(block_header_bytes + content.size() + footer.size());
    for (auto& byte : footer) {
        byte = static_cast<std::byte>(total);
        total >>= 8;
    }
    std::array<Bytes, 3> parts{header, content, footer};
    for (;;) {
        std::array<::iovec, 3> vectors{};
        std::transform(parts.begin(), parts.end(), vectors.begin(), [](Bytes part) {
            return ::iovec{const_cast<std::byte*>(part.data()), part.size()}; // NOLINT: it reads
        });
        auto wrote = ::writev(descriptor_.get(), vectors.data(), static_cast<int>(vectors.size()));
        if (wrote == 0)
            return ENOSPC;
        if (wrote < 0 && errno != EINTR)
            return errno;
        for (auto& part : parts) {
            const auto count =
                std::min(part.size(), static_cast<std::size_t>(std::max<::ssize_t>(wrote, 0)));
            part = part.subspan(count);
            wrote -= static_cast<::ssize_t>(count);
        }
        if (parts.back().empty())
            return 0;
    }
}

} // namespace sidecar::recording
