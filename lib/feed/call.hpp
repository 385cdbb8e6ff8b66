// Feed::Call: one call of the application, and the failures that it names.
#pragma once

#include "base/failures.hpp"
#include "feed/run_registry.hpp"

#include <sidecar/feed.hpp>

#include <atomic>
#include <optional>
#include <string>
#include <utility>

namespace sidecar {

namespace detail {

/// Adds the call and the endpoint to a failure that does not name them.
inline Failure of_call(const Failure& failure, const char* attempted, std::string endpoint)
{
    return failure.with_attempt(failure.attempted().empty() ? attempted : failure.attempted(),
                                failure.endpoint().empty() ? std::move(endpoint)
                                                           : failure.endpoint());
}

} // namespace detail

/// One call of the application: the run that it found, and whether it may continue.
class Feed::Call {
public:
    explicit Call(const Feed& feed) noexcept
        : runs_{feed.runs_.load(std::memory_order_acquire)},
          run_{runs_ ? runs_->begin_call(calls_) : nullptr},
          is_forked_{runs_ && runs_->is_forked()}
    {
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call()
    {
        if (calls_)
            calls_->fetch_sub(1, std::memory_order_release);
    }

    [[nodiscard]] detail::Run* operator->() const noexcept { return run_; }
    /// Null: the Sidecar was moved from. A move during the call does not change it.
    [[nodiscard]] detail::RunRegistry* runs() const noexcept { return runs_; }
    [[nodiscard]] bool has_run() const noexcept { return run_ != nullptr; }
    [[nodiscard]] bool is_forked() const noexcept { return is_forked_; }
    /// Returns whether there is a run of this process.
    [[nodiscard]] explicit operator bool() const noexcept { return run_ && !is_forked_; }

    /// Returns whether there is a run to look at; on virtual time all has happened then that can
    /// happen now.
    [[nodiscard]] bool can_look() const
    {
        const bool has_run_here{*this};
        if (has_run_here)
            run_->settle();
        return has_run_here;
    }

    /// Returns why no call can continue, whether there is a run or not; empty: it can.
    [[nodiscard]] std::optional<Failure> refused_without_run(const char* attempted) const
    {
        if (!runs_)
            return Failure{Error::misuse,
                           {.attempted = attempted, .explanation = "this Sidecar was moved from"}};
        if (is_forked_)
            return failure(Error::forked, attempted);
        return std::nullopt;
    }
    /// Returns why this call cannot continue; empty: it can. `waits`: it may block.
    [[nodiscard]] std::optional<Failure> refused(const char* attempted, bool waits) const
    {
        if (!runs_ || is_forked_)
            return refused_without_run(attempted);
        if (!run_ || run_->has_start_failed())
            return failure(Error::not_started, attempted);
        if (waits && run_->is_loop_thread())
            return detail::called_on_loop(attempted, endpoint());
        return std::nullopt;
    }
    /// Does the same for calls that a stop refuses.
    [[nodiscard]] std::optional<Failure> refused_or_stopping(const char* attempted,
                                                             bool waits) const
    {
        if (auto refusal = refused(attempted, waits))
            return refusal;
        const auto& stop = run_->stop_request();
        return stop.is_made() ? std::optional<Failure>{failure(stop.refusal(), attempted)}
                              : std::nullopt;
    }
    [[nodiscard]] Failure failure(Error code, const char* attempted) const
    {
        return detail::of_call(code, attempted, endpoint());
    }
    /// Completes a failure of the inbox, which knows neither the call nor the endpoint, or of
    /// another wait: `stopped` names them; timed_out and full may be time_limit.
    template <class T>
    void complete(Result<T>& result, const char* attempted) const
    {
        if (!result.has_error()) [[likely]]
            return;
        if (result.error() == Error::stopped) {
            result = failure(Error::stopped, attempted);
        } else if (run_->virtual_time()
                   && (result.error() == Error::timed_out || result.error() == Error::full)) {
            if (auto why = run_->explain(failure(Error::timed_out, attempted));
                why == Error::time_limit)
                result = std::move(why);
        }
    }

private:
    [[nodiscard]] std::string endpoint() const
    {
        return run_ ? run_->links().first()->endpoint() : runs_->config()->endpoint();
    }

    detail::RunRegistry* const runs_;   // app side
    std::atomic<int>* calls_ = nullptr; // app side; null: no call is counted
    detail::Run* const run_;            // app side
    const bool is_forked_;              // app side
};

} // namespace sidecar
