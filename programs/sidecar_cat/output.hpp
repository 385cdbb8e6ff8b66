// Output: formats messages and events as text, and writes it to descriptors.
#pragma once

#include "options.hpp"

#include <sidecar/error.hpp>
#include <sidecar/event.hpp>
#include <sidecar/message.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// Writes a line to stderr, in one write, unless --quiet. Allocates nothing. Side: any thread.
void complain(const Settings& settings, std::string_view text) noexcept;

/// Appends messages and events, each with its line end, to a text. Uses no descriptor and no clock.
/// Owned by Session, on the main thread.
class Printer {
public:
    using WallTime = std::chrono::system_clock::time_point;

    explicit Printer(const Settings& settings) : settings_{settings} {}

    /// Sets the time of the next lines; once for each batch.
    void set_time(WallTime time);
    void message(std::string& out, const sidecar::MessageView& message) const;
    // Events, as JSON lines
    void up(std::string& out, std::string_view endpoint, const sidecar::Event& event) const;
    void down(std::string& out, const sidecar::Failure& failure, sidecar::LinkId link = {}) const;
    void report(std::string& out, int status, const sidecar::StopReport& report,
                const sidecar::Stats& stats) const;

private:
    void json_message(std::string& out, const sidecar::MessageView& message) const;
    /// With --listen and --relay also the link's number.
    void begin_event(std::string& out, std::string_view name, sidecar::LinkId link) const;

    const Settings& settings_;
    std::string time_{}; // empty: lines have no time
};

/// Formats as "2026-11-26T07:52:37.123456Z".
[[nodiscard]] std::string to_utc(Printer::WallTime time);
/// Appends a JSON string with its quotes (RFC 8259 section 7). Bytes that are not UTF-8 become
/// \xNN, as text.
void append_json_string(std::string& out, std::string_view text);
/// Escapes control characters (except newline and tab) and bytes that are not UTF-8 as \xNN: a peer
/// must not command the terminal.
void append_for_terminal(std::string& out, std::string_view text);
/// Appends base64 (RFC 4648 section 4), with padding, on one line.
void append_base64(std::string& out, std::string_view bytes);
/// Checks RFC 3629: no surrogates, no overlong forms.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// Writes to a descriptor. The descriptor stays blocking, because other programs may share it.
/// Owned by Session, on the main thread.
class Output {
public:
    explicit Output(int descriptor) : descriptor_{descriptor} {}

    /// Writes the next part of `text`, and clears it after the last part; until then it may only
    /// grow. Call it when the descriptor is writable; then it does not block.
    void write_some(std::string& text);
    /// Writes the rest of `text`. Blocks: until its reader has taken it or is gone. Once
    /// `must_end()` returns true, it gives up when the reader takes nothing for a second.
    void write(std::string& text, const std::function<bool()>& must_end);
    /// The reader is gone, or a write failed; no more can be written.
    [[nodiscard]] bool is_gone() const noexcept { return is_gone_; }
    void set_gone() noexcept { is_gone_ = true; }
    /// The reason, if a write failed; empty if the reader just left.
    [[nodiscard]] const std::string& error() const noexcept { return error_; }

private:
    int descriptor_;
    std::size_t written_ = 0; // of the text
    bool is_gone_ = false;
    std::string error_{};
};

} // namespace sidecar_cat
