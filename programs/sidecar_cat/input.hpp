// Input: sends standard input as messages, from a thread.
#pragma once

#include "options.hpp"

#include <sidecar/feed.hpp>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// Cuts an input into lines; the input arrives in pieces. Of a line longer than the limit it keeps
/// the length only, so it holds at most the limit and one piece. Owned by Input, on its thread.
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

/// Reads a descriptor to its end and sends each line. It may wait for the peer in send() and for
/// the input in read(). Nothing can end these waits, so nobody joins its thread. Owned by Session,
/// which outlives that thread with its feed.
class Input {
public:
    Input(int descriptor, sidecar::Feed& feed, const Settings& settings) noexcept
        : feed_{feed}, settings_{settings}, descriptor_{descriptor}
    {
    }
    /// Reads and sends until the input or the feed ends. Side: its thread.
    void run() noexcept;
    /// The input was not handled to its end. Side: any thread.
    [[nodiscard]] bool has_failed() const noexcept { return has_failed_; }

private:
    void send_all();
    /// Both return false when no more can be sent.
    bool send_lines(LineCutter& lines, bool has_ended);
    bool send(std::string_view payload, std::uint64_t line_number);
    void stop_when_sent();
    /// Waits for the next connection. False: the feed does not reconnect.
    [[nodiscard]] bool waits_for_connection() const;

    sidecar::Feed& feed_;                 // both: its calls are for any thread
    const Settings& settings_;            // both: constant
    const int descriptor_;                // both: constant
    std::atomic<bool> has_failed_{false}; // both: atomic
};

} // namespace sidecar_cat
