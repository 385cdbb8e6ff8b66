// Context: the loop's services for a coroutine that runs on it, and the interface behind them.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/mock_clock.hpp>
#include <sidecar/options.hpp>
#include <sidecar/phase.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/address.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

/// Implements the calls of Context. A sidecar has one for each of its tasks; a program that drives
/// a transport without a sidecar (a test, a recorder, a simulation) derives another. Side: the
/// loop's thread.
class SIDECAR_API ContextBase {
public:
    ContextBase() = default;
    ContextBase(const ContextBase&) = delete;
    ContextBase& operator=(const ContextBase&) = delete;
    virtual ~ContextBase() = default;

    [[nodiscard]] virtual boost::asio::any_io_executor executor() = 0;
    [[nodiscard]] virtual TimePoint now() const = 0;
    [[nodiscard]] virtual std::optional<MockClock> mock_clock() const { return std::nullopt; }
    [[nodiscard]] virtual Task<> sleep_until(TimePoint when) = 0;
    [[nodiscard]] virtual Task<bool> wait(LoopEvent& event, TimePoint deadline) = 0;
    [[nodiscard]] virtual Task<std::vector<boost::asio::ip::address>> resolve(std::string host) = 0;
    virtual void phase(Phase phase, std::string_view detail) = 0;
    virtual void negotiated(std::string_view protocol) = 0;
    virtual void tried(std::string_view address, std::string_view outcome, Duration elapsed)
    {
        (void)address, (void)outcome, (void)elapsed;
    }
    virtual void waiting_for(const char* what) = 0;
    virtual void log(LogLevel level, std::string_view text) = 0;
};

namespace detail {

// Asio finds a loop's services by typeid if there is RTTI, and by an address otherwise. A program
// and a library that differ in that would each make a reactor on the same loop, with a thread that
// nobody stops. So a caller of executor() refers to a function named after its setting, and only a
// library with the same setting defines it.
#if defined(BOOST_ASIO_NO_TYPEID)
SIDECAR_API void the_library_must_be_compiled_with_fno_rtti_like_this_file() noexcept;
[[gnu::always_inline]] inline void check_rtti() noexcept
{
    the_library_must_be_compiled_with_fno_rtti_like_this_file();
}
#else
SIDECAR_API void the_library_must_be_compiled_with_rtti_like_this_file() noexcept;
[[gnu::always_inline]] inline void check_rtti() noexcept
{
    the_library_must_be_compiled_with_rtti_like_this_file();
}
#endif

} // namespace detail

/// The loop's services for a coroutine that runs on it. Cheap to copy. Side: the loop's thread
/// only. Lifetime: as the coroutine, or the transport, that received it.
class Context {
public:
    /// Lifetime: `base` outlives all copies.
    Context(ContextBase& base, TimePoint deadline) noexcept : base_{&base}, deadline_{deadline} {}

    /// The executor for Asio objects. The library accounts handlers that run through it to this
    /// task. A file that calls this must be compiled with RTTI if the library is, and without if it
    /// is not; otherwise it does not link.
    [[nodiscard, gnu::always_inline]] inline boost::asio::any_io_executor executor() const
    {
        detail::check_rtti();
        return base_->executor();
    }

    /// The present time on the sidecar's clock (virtual with the mock).
    [[nodiscard]] TimePoint now() const { return base_->now(); }
    /// The clock that the loop shares with the application's threads; empty: time is real.
    [[nodiscard]] std::optional<MockClock> mock_clock() const { return base_->mock_clock(); }
    /// When the library gives up the present operation (connect, close); TimePoint::max(): never.
    [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }
    /// Waits until `when`. Cancellation: throws operation_aborted.
    [[nodiscard]] Task<> sleep_until(TimePoint when) const { return base_->sleep_until(when); }
    [[nodiscard]] Task<> sleep_for(Duration duration) const
    {
        return sleep_until(deadline_after(now(), duration));
    }
    /// Waits for the event; returns false if the deadline passed first. It may also return true
    /// without the event, so check your condition. Cancellation: throws operation_aborted.
    /// Lifetime: `event` outlives the wait.
    [[nodiscard]] Task<bool> wait(LoopEvent& event, TimePoint deadline) const
    {
        return base_->wait(event, deadline);
    }

    /// Resolves a host name; an address literal costs nothing. Runs on a helper thread that nobody
    /// waits for. Errors (thrown): bad_address (empty, or with a zero byte), lookup_failed,
    /// lookup_busy, no_resources. Cancellation: throws operation_aborted at once.
    [[nodiscard]] Task<std::vector<boost::asio::ip::address>> resolve(std::string host) const
    {
        phase(Phase::resolving);
        return base_->resolve(std::move(host));
    }

    /// Sets the link's phase, for dump(), the stop report and the failure of a start that timed
    /// out. `detail` names the peer or the place ("to 192.0.2.1:80"). In a coroutine of spawn() or
    /// call() no link's phase changes. Lifetime: copies `detail`.
    void phase(Phase phase, std::string_view detail = {}) const { base_->phase(phase, detail); }
    /// Sets Link::protocol(), the protocol agreed with the peer. Lifetime: copies `protocol`.
    void negotiated(std::string_view protocol) const { base_->negotiated(protocol); }
    /// Records an address that a connect tried, for Stats::last_connect. `outcome`: why it was not
    /// taken; empty: it was. `elapsed`: since its attempt began. Lifetime: copied.
    void tried(std::string_view address, std::string_view outcome, Duration elapsed) const
    {
        base_->tried(address, outcome, elapsed);
    }
    /// Names the task's next wait, for dump() and the stop report. Lifetime: a string literal.
    void waiting_for(const char* what) const { base_->waiting_for(what); }
    void log(LogLevel level, std::string_view text) const { base_->log(level, text); }

private:
    ContextBase* base_;
    TimePoint deadline_;
};

} // namespace sidecar
