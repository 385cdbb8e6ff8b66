// Output: text to a descriptor, without ever waiting for its reader.
#pragma once

#include <cstddef>
#include <string>

namespace sidecar_cat {

/// Holds text until its descriptor takes it. Whoever appends asks first whether the last text has
/// gone, so that a reader who is slow, or stands still, makes nothing grow.
/// Owned by Session, on the main thread.
class Output {
public:
    explicit Output(int descriptor);

    /// To append to; write() sends it.
    [[nodiscard]] std::string& text() noexcept { return text_; }
    [[nodiscard]] std::size_t pending_bytes() const noexcept { return text_.size() - written_; }
    /// What poll() is asked for on the descriptor: with nothing to write, only for its end.
    [[nodiscard]] short poll_events() const noexcept;
    /// Writes what the descriptor takes without waiting.
    void write();
    /// The reader has gone: what poll() said of the descriptor.
    void note_poll(short events) noexcept;
    [[nodiscard]] bool is_gone() const noexcept { return is_gone_; }
    /// Why nothing can be written; empty: it can, or the reader has only gone.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
    enum class Kind { file, socket, other };
    [[nodiscard]] bool is_ready() const noexcept;
    [[nodiscard]] long write_some(const char* data, std::size_t size) const noexcept;
    void give_up(int error);

    int descriptor_;
    Kind kind_;
    std::string text_;
    std::size_t written_ = 0; // of text_
    bool is_gone_ = false;
    std::string error_;
};

} // namespace sidecar_cat
