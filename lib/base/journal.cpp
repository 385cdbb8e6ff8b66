#include "base/journal.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace sidecar::detail {
namespace {

constexpr std::size_t kept_failures = 16;

void log_to_stderr(LogLevel level, std::string_view text)
{
    if (level >= LogLevel::warning)
        fmt::print(stderr, "sidecar: {}: {}\n", to_string(level), text);
}

} // namespace

void Journal::record(const Failure& failure)
{
    std::lock_guard lock{mutex_};
    if (!first_)
        first_ = failure;
    ++count_;
    latest_.push_back(failure);
    if (latest_.size() > kept_failures)
        latest_.pop_front();
}

std::optional<Failure> Journal::first() const
{
    std::lock_guard lock{mutex_};
    return first_;
}

std::vector<Failure> Journal::latest() const
{
    std::lock_guard lock{mutex_};
    return {latest_.begin(), latest_.end()};
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

} // namespace sidecar::detail
