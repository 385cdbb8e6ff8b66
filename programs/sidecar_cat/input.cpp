#include "input.hpp"

#include "encoding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {

Outgoing to_outgoing(const InputLine& line, std::optional<BinaryFormat> binary,
                     std::string& storage)
{
    using sidecar::MessageKind;
    const auto refuse = [&](std::string_view why) {
        return Outgoing{
            MessageKind::text, {}, fmt::format("line {} is not sent: {}", line.number, why)};
    };
    if (line.too_long_bytes != 0)
        return refuse(
            fmt::format("it has {} bytes, more than --max-message allows", line.too_long_bytes));
    if (!binary)
        return {MessageKind::text, line.text, {}};
    if (*binary == BinaryFormat::raw)
        return {MessageKind::bytes, line.text, {}};
    const bool is_hex = *binary == BinaryFormat::hex;
    auto decoded = is_hex ? decode_hex(line.text) : decode_base64(line.text);
    if (!decoded)
        return refuse(is_hex ? "it is not hex, as --binary hex wants it"
                             : "it is not base64, as --binary base64 wants it");
    storage = std::move(*decoded);
    return {MessageKind::bytes, storage, {}};
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
    return to_outgoing(*line, form_.binary, storage_);
}

} // namespace sidecar_cat
