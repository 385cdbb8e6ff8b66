// Input: what stands on standard input, as messages to send.
#pragma once

#include "line_cutter.hpp"
#include "settings.hpp"

#include <sidecar/message.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// A message to send, or why a line is none.
struct Outgoing {
    sidecar::MessageKind kind = sidecar::MessageKind::text;
    std::string_view payload; ///< until the next call of the input
    std::string complaint{};  ///< not empty: the line cannot be sent, and this says why
    std::size_t line = 0;     ///< its number; 0: the input has none
};

/// What a line means as a message. `storage` holds what had to be decoded.
[[nodiscard]] Outgoing to_outgoing(const InputLine& line, std::optional<BinaryFormat> binary,
                                   std::string& storage);

/// Reads a descriptor when it is told that it is readable, and cuts what came into messages: lines,
/// or the pieces themselves. It never waits, and reads no more while messages are left.
/// Owned by Session, on the main thread.
class Input {
public:
    struct Form {
        bool is_raw = false;                  ///< pieces as they come, not lines
        std::optional<BinaryFormat> binary{}; ///< empty: lines are text
        std::size_t limit_bytes = 0;          ///< of a message; larger ones are refused
    };
    Input(int descriptor, Form form);
    Input(const Input&) = delete;
    Input& operator=(const Input&) = delete;
    ~Input();

    /// The descriptor to wait on; -1: nothing is to be read now.
    [[nodiscard]] int to_poll() const noexcept
    {
        return has_ended_ || !is_empty_ ? -1 : descriptor_;
    }
    /// Reads once. Blocks: not, if the descriptor is readable (of a terminal or a pipe: never). Gives: what went wrong; empty:
    /// nothing did.
    std::string read();
    /// The next message; empty: more must be read.
    [[nodiscard]] std::optional<Outgoing> next();
    /// All has been read and given.
    [[nodiscard]] bool is_exhausted() const noexcept { return has_ended_ && is_empty_; }
    /// Reads nothing any more, and forgets what was not given.
    void close() noexcept { has_ended_ = is_empty_ = true; }

private:
    static constexpr std::size_t piece_bytes = std::size_t{64} << 10;

    int own_descriptor_; // the same input, opened anew; -1: it cannot be
    int descriptor_;     // to read from
    Form form_;
    LineCutter cutter_;
    std::string piece_;      // as read; of raw input what was not given yet
    std::string storage_;    // a decoded line
    bool is_empty_ = true;   // next() has nothing
    bool has_ended_ = false; // nothing more can be read
};

} // namespace sidecar_cat
