#include "state_line.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace sidecar_cat {
namespace {

std::string bytes_text(double bytes)
{
    constexpr std::array units{"B", "kB", "MB", "GB"};
    std::size_t unit = 0;
    while (bytes >= 1000 && unit + 1 < units.size()) {
        bytes /= 1000;
        ++unit;
    }
    return unit == 0 ? fmt::format("{:.0f} B", bytes)
                     : fmt::format("{:.1f} {}", bytes, units[unit]);
}

double per_second(std::uint64_t before, std::uint64_t now, double seconds)
{
    return now > before && seconds > 0 ? static_cast<double>(now - before) / seconds : 0;
}

/// Of a terminal that does not say, what terminals always had.
::winsize size_of(int descriptor) noexcept
{
    ::winsize size{};
    if (::ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
        return {24, 80, 0, 0};
    return size;
}

/// What does not fit is not shown; a terminal that has gone needs none.
void show(int descriptor, std::string_view text)
{
    [[maybe_unused]] const auto wrote = ::write(descriptor, text.data(), text.size());
}

} // namespace

Rates rates_between(const sidecar::Stats& before, const sidecar::Stats& now,
                    sidecar::Duration interval)
{
    const double seconds = std::chrono::duration<double>(interval).count();
    return {.received_messages =
                per_second(before.messages_received, now.messages_received, seconds),
            .received_bytes = per_second(before.bytes_received, now.bytes_received, seconds),
            .sent_messages = per_second(before.messages_sent, now.messages_sent, seconds),
            .sent_bytes = per_second(before.bytes_sent, now.bytes_sent, seconds)};
}

std::string state_text(sidecar::State state, const Rates& rates, const sidecar::Stats& stats,
                       std::size_t columns)
{
    auto text =
        fmt::format("{}   received {:.0f}/s {}/s   sent {:.0f}/s {}/s   queued {} in, {} out",
                    sidecar::to_string(state), rates.received_messages,
                    bytes_text(rates.received_bytes), rates.sent_messages,
                    bytes_text(rates.sent_bytes), stats.inbox_messages, stats.outbox_messages);
    if (text.size() > columns)
        text.resize(columns);
    return text;
}

std::size_t StateLine::columns() const noexcept { return size_of(descriptor_).ws_col; }

bool StateLine::is_ready() const noexcept
{
    ::pollfd entry{descriptor_, POLLOUT, 0};
    return ::poll(&entry, 1, 0) == 1 && entry.revents == POLLOUT;
}

void StateLine::make_room(unsigned rows)
{
    // A line further down, so that the cursor is not on the last one, and back; then the region.
    show(descriptor_, fmt::format("\n\x1b"
                                  "7\x1b[1;{}r\x1b"
                                  "8\x1b[1A",
                                  rows - 1));
    rows_ = rows;
}

void StateLine::draw(std::string_view text)
{
    const unsigned rows = is_possible() ? size_of(descriptor_).ws_row : 0;
    if (rows < 2 || !is_ready())
        return;
    if (rows != rows_)
        make_room(rows);
    show(descriptor_, fmt::format("\x1b"
                                  "7\x1b[{};1H\x1b[2K\x1b[7m{}\x1b[0m\x1b"
                                  "8",
                                  rows, text));
}

void StateLine::remove()
{
    if (rows_ != 0 && is_ready())
        show(descriptor_, fmt::format("\x1b"
                                      "7\x1b[r\x1b[{};1H\x1b[2K\x1b"
                                      "8",
                                      rows_));
    rows_ = 0;
    descriptor_ = -1;
}

} // namespace sidecar_cat
