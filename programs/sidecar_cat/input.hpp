// Input: sends standard input as messages.
#pragma once

#include "options.hpp"

#include <sidecar/error.hpp>
#include <sidecar/payload.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// Cuts an input into lines; the input arrives in pieces. Of a line longer than the limit it keeps
/// the length only, so it holds at most the limit and one piece. Owned by Input.
class LineCutter {
public:
    struct Line {
        std::string_view text;    ///< without its line end; until the next call
        std::uint64_t number = 0; ///< from 1
        std::uint64_t size = 0;   ///< greater than the text's: the line was too long and is dropped
    };

    explicit LineCutter(std::size_t max_bytes) : max_bytes_{max_bytes} {}

    void append(std::string_view piece);
    /// Returns the next line; empty: more input is needed. With `has_ended` the rest is a line too.
    [[nodiscard]] std::optional<Line> next(bool has_ended);

private:
    std::size_t max_bytes_;
    std::string buffer_;
    std::size_t begin_ = 0;           // begin of the line in buffer_
    std::size_t scanned_ = 0;         // no line end before this position
    std::uint64_t dropped_bytes_ = 0; // of the present line, which is too long
    std::uint64_t number_ = 0;
};

/// Decodes a line in hex; empty: it is not hex. Spaces between bytes are skipped.
[[nodiscard]] std::optional<std::string> decode_hex(std::string_view line);

/// Reads a descriptor to its end and sends each line. A line that finds no room, or no connection,
/// waits here, and nothing is read meanwhile. Owned by Session, on the main thread.
class Input {
public:
    /// Sends a line, or fails as Feed::send does.
    using Send = std::function<sidecar::Result<void>(const sidecar::Payload& line)>;
    Input(int descriptor, Send send, const Settings& settings);
    Input(const Input&) = delete;
    Input& operator=(const Input&) = delete;
    ~Input();
    /// Whether to call read() once the descriptor is readable.
    [[nodiscard]] bool wants_more() const noexcept { return !is_blocked_ && !has_ended_; }
    /// Whether the input has ended and each line is sent.
    [[nodiscard]] bool is_done() const noexcept { return !is_blocked_ && has_ended_; }
    /// Reads a piece and sends its lines. Of a terminal and a pipe it does not wait for one.
    void read();
    /// Sends the lines that wait. Call it at `up` and `writable`.
    void resume();

private:
    /// Returns false if the line must wait.
    [[nodiscard]] bool send(const LineCutter::Line& line);

    const Send send_;
    const Settings& settings_;
    const int descriptor_;
    const int own_descriptor_; // of the same terminal or pipe, does not wait; -1: there is none
    LineCutter lines_;
    std::optional<LineCutter::Line> line_{}; // the next one to send
    std::string piece_ = std::string(std::size_t{64} << 10, '\0');
    bool is_blocked_ = true; // until the link is up
    bool has_ended_ = false;
};

} // namespace sidecar_cat
