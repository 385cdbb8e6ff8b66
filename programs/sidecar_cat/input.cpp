#include "input.hpp"

#include "encoding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {
namespace {

/// A descriptor of the same terminal or pipe that never blocks; -1: none can be had. What poll()
/// called readable may be gone when it is read: Ctrl-C throws away what was typed, and a pipe may
/// have other readers. The descriptor that was given is shared with other programs, and stays as it
/// is.
int open_anew(int descriptor)
{
    struct ::stat status {};
    if (::fstat(descriptor, &status) != 0
        || !(S_ISFIFO(status.st_mode) || ::isatty(descriptor) == 1))
        return -1;
    const auto path = fmt::format("/proc/self/fd/{}", descriptor);
    return ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

Outgoing refuse(std::size_t line, std::string_view why)
{
    return {
        sidecar::MessageKind::text, {}, fmt::format("line {} is not sent: {}", line, why), line};
}

Outgoing refuse_too_long(std::size_t line, std::size_t bytes)
{
    return refuse(line, fmt::format("it has {} bytes, more than --max-message allows", bytes));
}

/// How long the line of a message may be that has so many bytes: in hex there may be a space behind
/// each of them.
std::size_t longest_line(std::optional<BinaryFormat> binary, std::size_t message_bytes)
{
    if (binary == BinaryFormat::hex)
        return 3 * message_bytes + 1;
    if (binary == BinaryFormat::base64)
        return (message_bytes + 2) / 3 * 4 + 1;
    return message_bytes;
}

} // namespace

Input::Input(int descriptor, Form form)
    : own_descriptor_{open_anew(descriptor)},
      descriptor_{own_descriptor_ >= 0 ? own_descriptor_ : descriptor},
      form_{form},
      cutter_{longest_line(form.binary, form.limit_bytes)}
{
}

Input::~Input()
{
    if (own_descriptor_ >= 0)
        ::close(own_descriptor_);
}

Outgoing to_outgoing(const InputLine& line, std::optional<BinaryFormat> binary,
                     std::string& storage)
{
    using sidecar::MessageKind;
    if (line.too_long_bytes != 0)
        return refuse_too_long(line.number, line.too_long_bytes);
    if (!binary)
        return {MessageKind::text, line.text, {}, line.number};
    if (*binary == BinaryFormat::raw)
        return {MessageKind::bytes, line.text, {}, line.number};
    const bool is_hex = *binary == BinaryFormat::hex;
    auto text = line.text;
    if (text.ends_with('\r')) // a file from elsewhere
        text.remove_suffix(1);
    auto decoded = is_hex ? decode_hex(text) : decode_base64(text);
    if (!decoded)
        return refuse(line.number, is_hex ? "it is not hex, as --binary hex wants it"
                                          : "it is not base64, as --binary base64 wants it");
    storage = std::move(*decoded);
    return {MessageKind::bytes, storage, {}, line.number};
}

std::string Input::read()
{
    piece_.resize(piece_bytes);
    const auto got = ::read(descriptor_, piece_.data(), piece_.size());
    const int error = errno;
    piece_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    if (got < 0 && (error == EINTR || error == EAGAIN))
        return {};
    is_empty_ = form_.is_raw && got <= 0;
    if (got <= 0) {
        has_ended_ = true;
        cutter_.end();
        return got < 0 ? fmt::format("standard input cannot be read: {}", std::strerror(error))
                       : std::string{};
    }
    if (!form_.is_raw)
        cutter_.append(piece_);
    return {};
}

std::optional<Outgoing> Input::next()
{
    if (is_empty_)
        return std::nullopt;
    if (form_.is_raw) {
        is_empty_ = true;
        return Outgoing{sidecar::MessageKind::bytes, piece_, {}};
    }
    const auto line = cutter_.next();
    if (!line) {
        is_empty_ = true;
        return std::nullopt;
    }
    auto outgoing = to_outgoing(*line, form_.binary, storage_);
    if (outgoing.payload.size() > form_.limit_bytes)
        return refuse_too_long(line->number, outgoing.payload.size());
    return outgoing;
}

} // namespace sidecar_cat
