// LineCutter: lines out of the pieces in which an input arrives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// One line of input, without its end.
struct InputLine {
    std::string_view text;    ///< until the next call of the cutter
    std::uint64_t number = 0; ///< from 1
    /// Longer than the limit: `text` is empty, and this is how long it was. Zero: it is not.
    std::uint64_t too_long_bytes = 0;
};

/// Cuts lines. It holds what was appended and not given yet; of a line longer than the limit it
/// forgets what has come, so that it holds at most the limit and the last piece. What stands behind
/// the last line end is a line too, once the input has ended.
/// Owned by Input, on the main thread; does no I/O.
class LineCutter {
public:
    explicit LineCutter(std::size_t limit) : limit_{limit} {}

    void append(std::string_view piece);
    /// No more will come.
    void end() noexcept { has_ended_ = true; }
    /// The next line; empty: more has to come, or all has been given.
    [[nodiscard]] std::optional<InputLine> next();
    [[nodiscard]] std::size_t held_bytes() const noexcept { return buffer_.size() - begin_; }

private:
    InputLine make_line(std::size_t end, std::size_t consumed_end);
    void forget_long_line();

    std::size_t limit_;
    std::string buffer_;
    std::size_t begin_ = 0;             // of what was not given yet, in buffer_
    std::size_t scanned_ = 0;           // from begin_ to here there is no line end
    std::uint64_t forgotten_bytes_ = 0; // of the line at begin_, because it is too long
    std::uint64_t number_ = 0;
    bool has_ended_ = false;
};

} // namespace sidecar_cat
