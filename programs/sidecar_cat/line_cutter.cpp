#include "line_cutter.hpp"

namespace sidecar_cat {

void LineCutter::append(std::string_view piece)
{
    buffer_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
    buffer_.append(piece);
}

std::optional<InputLine> LineCutter::next()
{
    const auto found = buffer_.find('\n', scanned_);
    if (found != std::string::npos)
        return make_line(found, found + 1);
    scanned_ = buffer_.size();
    if (held_bytes() > limit_)
        forget_long_line();
    if (has_ended_ && (held_bytes() != 0 || forgotten_bytes_ != 0))
        return make_line(buffer_.size(), buffer_.size());
    return std::nullopt;
}

InputLine LineCutter::make_line(std::size_t end, std::size_t consumed_end)
{
    InputLine line{.text = std::string_view{buffer_}.substr(begin_, end - begin_),
                   .number = ++number_};
    const auto size = forgotten_bytes_ + line.text.size();
    if (size > limit_) {
        line.text = {};
        line.too_long_bytes = size;
    }
    begin_ = scanned_ = consumed_end;
    forgotten_bytes_ = 0;
    return line;
}

void LineCutter::forget_long_line()
{
    forgotten_bytes_ += held_bytes();
    begin_ = scanned_ = buffer_.size();
}

} // namespace sidecar_cat
