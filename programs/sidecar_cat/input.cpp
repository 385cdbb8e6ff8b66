#include "input.hpp"

#include "output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <poll.h>
#include <span>
#include <thread>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {

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

void Input::run() noexcept
{
    try {
        send_all();
    } catch (const std::exception&) { // no memory
        has_failed_ = true;
        complain(settings_, "standard input: out of memory");
        feed_.request_stop();
    }
}

void Input::send_all()
{
    std::string piece(std::size_t{64} << 10, '\0');
    const auto bytes = settings_.websocket.max_message_bytes;
    // In hex, a space may follow each byte
    LineCutter lines{settings_.input_binary == BinaryFormat::hex ? 3 * bytes + 1 : bytes};
    for (;;) {
        ::pollfd entry{descriptor_, POLLIN, 0};
        ::poll(&entry, 1, -1); // another program may have made it non-blocking
        const auto got = ::read(descriptor_, piece.data(), piece.size());
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            complain(settings_,
                     fmt::format("standard input cannot be read: {}", std::strerror(errno)));
        lines.append(
            std::string_view{piece}.substr(0, got > 0 ? static_cast<std::size_t>(got) : 0));
        if (!send_lines(lines, got <= 0))
            return;
        if (got <= 0)
            return settings_.closes_at_eof ? stop_when_sent() : void();
    }
}

bool Input::send_lines(LineCutter& lines, bool has_ended)
{
    while (const auto line = lines.next(has_ended)) {
        auto size = line->size;
        std::string_view payload = line->text;
        std::optional<std::string> decoded;
        const bool is_hex = settings_.input_binary == BinaryFormat::hex;
        if (is_hex && payload.size() == size) {
            decoded = decode_hex(payload);
            payload = decoded ? *decoded : std::string_view{};
            size = payload.size();
        }
        std::string why;
        if (size > settings_.websocket.max_message_bytes)
            why = fmt::format("it has {} bytes, more than --max-message allows", size);
        else if (is_hex && !decoded)
            why = "it is not hex, as --binary hex demands";
        if (!why.empty())
            complain(settings_, fmt::format("line {} is not sent: {}", line->number, why));
        else if (!send(payload, line->number))
            return false;
    }
    return true;
}

bool Input::send(std::string_view payload, std::uint64_t line_number)
{
    using sidecar::Error;
    const bool is_binary =
        settings_.input_binary == BinaryFormat::hex || settings_.input_binary == BinaryFormat::raw;
    for (;;) {
        const auto sent =
            is_binary ? feed_.send(std::as_bytes(std::span{payload}), sidecar::Duration::max())
                      : feed_.send(payload, sidecar::Duration::max());
        if (sent)
            return true;
        const auto& why = sent.error();
        if (why == Error::stopping || why == Error::stopped)
            return false;
        if (why != Error::not_connected) {
            complain(settings_, fmt::format("line {} is not sent: {}", line_number, why.message()));
            return true;
        }
        if (!waits_for_connection()) // the session reports the feed's failure
            return false;
    }
}

void Input::stop_when_sent()
{
    while (!feed_.flush(sidecar::Duration::max()))
        if (!waits_for_connection())
            return;
    feed_.request_stop();
}

bool Input::waits_for_connection() const
{
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
    return settings_.feed.link.reconnect.has_value();
}

} // namespace sidecar_cat
