// Any bytes as a recording: the reader ends, with an error or without, and reads the same again. The
// first byte of an input chooses: 0, the rest is the file; otherwise the rest is the content of
// blocks, each of so many bytes, whose checksums are right.
#include "format.hpp"
#include "require.hpp"

#include <sidecar/transports/recording_reader.hpp>

#include <algorithm>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace sidecar;

namespace {

std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string file_of(std::string_view content, std::size_t block_bytes)
{
    auto file = text_of(recording::file_header());
    while (!content.empty()) {
        const auto part = content.substr(0, block_bytes);
        content.remove_prefix(part.size());
        const recording::BlockHeader header{
            .content_bytes = static_cast<std::uint32_t>(part.size()),
            .content_crc = recording::crc32c(std::as_bytes(std::span{part}))};
        file += text_of(recording::encode_header(header, file.size()));
        file += part;
        std::vector<std::byte> footer;
        recording::Encoder{footer}.number(static_cast<std::uint32_t>(header.block_bytes()));
        file += text_of(footer);
    }
    return file;
}

/// The times and sizes of all entries, and the error.
std::pair<std::vector<std::pair<Duration, std::size_t>>, std::string> read(const std::string& name)
{
    std::pair<std::vector<std::pair<Duration, std::size_t>>, std::string> heard;
    auto reader = RecordingReader::open(name);
    if (!reader)
        return heard.second = reader.error().message(), heard;
    Duration last{};
    for (;;) {
        const auto entry = reader->next();
        if (!entry) {
            heard.second = entry.error().message();
            require(reader->next().error().message() == heard.second, "the error stays");
            return heard;
        }
        if (!*entry)
            return heard;
        require((*entry)->time >= last, "times grow");
        last = (*entry)->time;
        (void)to_string((*entry)->kind);
        const auto bytes = (*entry)->payload;
        heard.first.emplace_back(last, bytes.size() + recording::crc32c(bytes));
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size == 0)
        return 0;
    const std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
    const auto file = data[0] == 0 ? std::string{rest} : file_of(rest, data[0]);
    const int fd = ::memfd_create("recording", MFD_CLOEXEC);
    require(fd >= 0 && ::write(fd, file.data(), file.size()) == static_cast<::ssize_t>(file.size()),
            "there is a file in memory");
    const auto name = "/proc/self/fd/" + std::to_string(fd);
    const auto first = read(name);
    require(first == read(name), "it is read the same again");
    ::close(fd);
    return 0;
}
