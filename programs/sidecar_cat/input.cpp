#include "input.hpp"

#include "output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <span>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {
namespace {

/// Opens a terminal or a pipe once more, so that a read does not wait: what poll() announced may be
/// gone, on a terminal by Ctrl-C, in a pipe by another reader. Others who have the first descriptor
/// still wait. Returns -1 for what is neither, or may not be opened.
int open_without_waits(int descriptor)
{
    struct ::stat status {};
    if (::fstat(descriptor, &status) != 0
        || (::isatty(descriptor) != 1 && !S_ISFIFO(status.st_mode)))
        return -1;
    const auto path = fmt::format("/proc/self/fd/{}", descriptor);
    return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

} // namespace

void LineCutter::append(std::string_view piece)
{
    buffer_.erase(0, begin_);
    scanned_ -= std::exchange(begin_, 0);
    buffer_.append(piece);
}

std::optional<LineCutter::Line> LineCutter::next(bool has_ended)
{
    const auto found = buffer_.find('\n', scanned_);
    const auto end = std::min(found, buffer_.size());
    auto size = dropped_bytes_ + end - begin_;
    scanned_ = end;
    if (found == buffer_.npos && size > max_bytes_) {
        dropped_bytes_ = size;
        begin_ = end;
    }
    if (found == buffer_.npos && (!has_ended || size == 0))
        return std::nullopt;
    Line line{std::string_view{buffer_}.substr(begin_, end - begin_), ++number_, size};
    if (size > max_bytes_)
        line.text = {};
    begin_ = scanned_ = std::min(end + 1, buffer_.size());
    dropped_bytes_ = 0;
    return line;
}

std::optional<std::string> decode_hex(std::string_view line)
{
    std::string bytes;
    if (line.ends_with('\r')) // of a file with CRLF line ends
        line.remove_suffix(1);
    while (!line.empty()) {
        if (line.starts_with(' ')) {
            line.remove_prefix(1);
            continue;
        }
        unsigned char byte = 0;
        const char* end = line.data() + std::min<std::size_t>(line.size(), 2);
        if (std::from_chars(line.data(), end, byte, 16).ptr != line.data() + 2)
            return std::nullopt;
        bytes += static_cast<char>(byte);
        line.remove_prefix(2);
    }
    return bytes;
}

Input::Input(int descriptor, Send send, const Settings& settings)
    : send_{std::move(send)},
      settings_{settings},
      descriptor_{descriptor},
      own_descriptor_{open_without_waits(descriptor)},
      // In hex, a space may follow each byte
      lines_{settings.input_binary == BinaryFormat::hex
                 ? 3 * settings.websocket.max_message_bytes + 1
                 : settings.websocket.max_message_bytes}
{
}

Input::~Input()
{
    if (own_descriptor_ >= 0)
        ::close(own_descriptor_);
}

void Input::read()
{
    const auto from = own_descriptor_ >= 0 ? own_descriptor_ : descriptor_;
    const auto got = ::read(from, piece_.data(), piece_.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) // another program may have read it
        return;
    if (got < 0)
        complain(settings_, fmt::format("standard input cannot be read: {}", std::strerror(errno)));
    has_ended_ = got <= 0;
    lines_.append(std::string_view{piece_}.substr(0, got > 0 ? static_cast<std::size_t>(got) : 0));
    resume();
}

void Input::resume()
{
    do {
        is_blocked_ = line_ && !send(*line_);
        if (!is_blocked_)
            line_ = lines_.next(has_ended_);
    } while (!is_blocked_ && line_);
}

bool Input::send(const LineCutter::Line& line)
{
    using sidecar::Error;
    auto size = line.size;
    std::string_view payload = line.text;
    std::optional<std::string> decoded;
    const bool is_hex = settings_.input_binary == BinaryFormat::hex;
    if (is_hex && payload.size() == size) {
        decoded = decode_hex(payload);
        payload = decoded ? *decoded : std::string_view{};
        size = payload.size();
    }
    std::string why;
    if (size > settings_.websocket.max_message_bytes) {
        why = fmt::format("it has {} bytes, more than --max-message allows", size);
    } else if (is_hex && !decoded) {
        why = "it is not hex, as --binary hex demands";
    } else {
        const auto sent =
            settings_.input_binary ? send_(std::as_bytes(std::span{payload})) : send_(payload);
        if (sent)
            return true;
        for (const auto waits :
             {Error::full, Error::not_connected, Error::stopping, Error::stopped})
            if (sent.error() == waits)
                return false;
        why = sent.error().message();
    }
    complain(settings_, fmt::format("line {} is not sent: {}", line.number, why));
    return true;
}

} // namespace sidecar_cat
