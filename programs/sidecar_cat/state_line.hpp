// The line of state at the bottom of a terminal.
#pragma once

#include <sidecar/stats.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// What passed in the last interval.
struct Rates {
    double received_messages = 0, received_bytes = 0; ///< per second
    double sent_messages = 0, sent_bytes = 0;
};
[[nodiscard]] Rates rates_between(const sidecar::Stats& before, const sidecar::Stats& now,
                                  sidecar::Duration interval);

/// "connected   received 1200/s 56.3 kB/s   sent 0/s 0 B/s   queued 0 in, 0 out", cut to `columns`.
[[nodiscard]] std::string state_text(sidecar::State state, const Rates& rates,
                                     const sidecar::Stats& stats, std::size_t columns);

/// Keeps the last line of a terminal for itself: the rest scrolls above it (DECSTBM), so that what
/// is printed and typed meanwhile stays as it is. It draws only when the terminal takes it at once.
/// Owned by Session, on the main thread.
class StateLine {
public:
    /// A descriptor of a terminal; -1: there is none, and nothing is ever drawn.
    explicit StateLine(int descriptor) : descriptor_{descriptor} {}
    StateLine(const StateLine&) = delete;
    StateLine& operator=(const StateLine&) = delete;
    ~StateLine() { remove(); }

    [[nodiscard]] bool is_possible() const noexcept { return descriptor_ >= 0; }
    [[nodiscard]] std::size_t columns() const noexcept;
    void draw(std::string_view text);
    /// Gives the line back to the terminal, for good.
    void remove();

private:
    void make_room(unsigned rows);
    [[nodiscard]] bool is_ready() const noexcept;

    int descriptor_;
    unsigned rows_ = 0; // of the terminal, when the line was last drawn; 0: it is not there
};

} // namespace sidecar_cat
