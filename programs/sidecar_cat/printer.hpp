// Printer: messages and events as text.
#pragma once

#include "settings.hpp"

#include <sidecar/error.hpp>
#include <sidecar/message.hpp>
#include <sidecar/stats.hpp>
#include <sidecar/stop_report.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// What the place where it is printed can show.
struct Style {
    bool is_terminal = false; ///< directions are marked, control characters are not let through
    bool has_colour = false;
};

enum class Direction { received, sent };

using WallTime = std::chrono::system_clock::time_point;

/// "2026-11-26T07:52:37.123456Z"
[[nodiscard]] std::string to_utc(WallTime time);

/// Appends messages and events, each with its line end, to the text that it is given. It knows
/// neither descriptors nor clocks. Owned by Session, on the main thread.
class Printer {
public:
    Printer(const OutputSettings& settings, Style style) : settings_{settings}, style_{style} {}

    /// The time that what follows is printed with. One for a batch.
    void set_time(WallTime time);
    /// As a JSON line only what was received.
    void message(std::string& out, Direction direction, const sidecar::MessageView& message) const;
    /// These print nothing but JSON lines.
    void up(std::string& out, std::string_view endpoint, std::string_view protocol) const;
    void down(std::string& out, const sidecar::Failure& failure) const;
    void report(std::string& out, int status, const sidecar::StopReport& report,
                const sidecar::Stats& stats) const;

private:
    void plain_message(std::string& out, Direction direction,
                       const sidecar::MessageView& message) const;
    void json_message(std::string& out, const sidecar::MessageView& message) const;
    void begin_event(std::string& out, std::string_view name) const;

    OutputSettings settings_;
    Style style_;
    std::string time_; // empty: lines carry none
};

} // namespace sidecar_cat
