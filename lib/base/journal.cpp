#include "base/journal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

namespace sidecar::detail {
namespace {

void log_to_stderr(LogLevel level, std::string_view text)
{
    if (level >= LogLevel::warning)
        fmt::print(stderr, "sidecar: {}: {}\n", to_string(level), text);
}

/// Ignores explanations and close reasons, which may contain numbers that differ each time.
bool is_same(const Failure& a, const Failure& b)
{
    return a.code() == b.code() && a.cause() == b.cause() && a.close_code() == b.close_code()
           && a.http_status() == b.http_status() && a.attempted() == b.attempted()
           && a.endpoint() == b.endpoint();
}

} // namespace

void Journal::use_clock(std::function<TimePoint()> now, bool is_virtual)
{
    now_ = std::move(now);
    is_virtual_ = is_virtual;
}

void Journal::record(const Failure& why) noexcept
{
    const auto failure = why.with_retry(false); // no call returns it
    std::lock_guard lock{mutex_};
    if (!first_)
        first_ = failure;
    ++count_;
    try {
        record_distinct(failure);
    } catch (...) { // no memory
    }
}

void Journal::record(std::exception_ptr exception, std::string_view attempted) noexcept
{
    record(to_failure(std::move(exception), Error::callback_failed, attempted, {}));
}

/// With mutex_ held.
void Journal::record_distinct(const Failure& failure)
{
    using std::chrono::system_clock;
    const auto now = now_ ? now_() : TimePoint{};
    const auto since_1970 =
        std::chrono::duration_cast<system_clock::duration>(now.time_since_epoch());
    const auto time = is_virtual_ ? system_clock::time_point{since_1970} : system_clock::now();
    auto& entries = distinct_.entries;
    const auto found =
        std::find_if(entries.begin(), entries.end(),
                     [&](const ErrorLogEntry& entry) { return is_same(entry.failure, failure); });
    if (found != entries.end()) {
        found->failure = failure;
        ++found->count;
        found->last_at = now;
        found->last_time = time;
    } else if (entries.size() < max_distinct) {
        entries.push_back({failure, 1, now, now, time, time});
    } else {
        ++distinct_.others;
    }
}

ErrorLog Journal::distinct() const
{
    std::lock_guard lock{mutex_};
    return distinct_;
}

std::optional<Failure> Journal::first() const
{
    std::lock_guard lock{mutex_};
    return first_;
}

std::uint64_t Journal::count() const
{
    std::lock_guard lock{mutex_};
    return count_;
}

void Journal::log(LogLevel level, std::string_view text) const noexcept
{
    if (silent_thread_.load() == std::this_thread::get_id())
        return;
    try {
        if (hook_)
            hook_(level, text);
        else
            log_to_stderr(level, text);
    } catch (...) {
        callback_failures_.fetch_add(1);
    }
}

void Journal::log_without_hook(LogLevel level, std::string_view text) const noexcept
{
    if (!hook_)
        log(level, text);
}

} // namespace sidecar::detail
