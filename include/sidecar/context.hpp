// Context: what the loop offers to a coroutine that runs on it, and the interface behind it.
#pragma once

#include <sidecar/clock.hpp>
#include <sidecar/detail/export.hpp>
#include <sidecar/loop_event.hpp>
#include <sidecar/options.hpp>
#include <sidecar/phase.hpp>
#include <sidecar/task.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/address.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace sidecar {

/// What stands behind a Context. A sidecar has one for each of its tasks; whoever drives a transport
/// without a sidecar (a test, a recorder, a simulation) writes his own. The calls are Context's.
/// Side: the loop's thread.
class SIDECAR_API ContextBase {
public:
    ContextBase() = default;
    ContextBase(const ContextBase&) = delete;
    ContextBase& operator=(const ContextBase&) = delete;
    virtual ~ContextBase() = default;

    [[nodiscard]] virtual boost::asio::any_io_executor executor() = 0;
    [[nodiscard]] virtual TimePoint now() const = 0;
    [[nodiscard]] virtual Task<> sleep_until(TimePoint when) = 0;
    [[nodiscard]] virtual Task<bool> wait(LoopEvent& event, TimePoint deadline) = 0;
    [[nodiscard]] virtual Task<std::vector<boost::asio::ip::address>> resolve(std::string host) = 0;
    virtual void phase(Phase phase, std::string_view detail) = 0;
    virtual void negotiated(std::string_view protocol) = 0;
    virtual void tried(std::string_view address, std::string_view outcome, Duration took)
    {
        (void)address, (void)outcome, (void)took;
    }
    virtual void waiting_for(const char* what) = 0;
    virtual void log(LogLevel level, std::string_view text) = 0;
};

namespace detail {

// Asio finds what belongs to a loop by typeid where there is RTTI, and otherwise by an address. Two
// that differ in that would each make a reactor of their own on the same loop, with a thread that
// nobody stops. So who takes the executor asks for a library like himself, and the linker answers.
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

/// What the loop offers to a coroutine that runs on it. Side: the loop's thread only. Cheap to
/// copy; valid for as long as the coroutine, or the transport, that received it exists.
class Context {
public:
    /// Lifetime: `base` outlives all copies.
    Context(ContextBase& base, TimePoint deadline) noexcept : base_{&base}, deadline_{deadline} {}

    /// For Asio objects; handlers that run through it are accounted to this task.
    /// A file that calls it must be compiled with RTTI if the library is, and without if it is not;
    /// otherwise it does not link.
    [[nodiscard, gnu::always_inline]] inline boost::asio::any_io_executor executor() const
    {
        detail::check_rtti();
        return base_->executor();
    }

    /// Now, on the sidecar's clock (virtual with the mock).
    [[nodiscard]] TimePoint now() const { return base_->now(); }
    /// When the library gives up the operation under way (connect, close); TimePoint::max() where
    /// it will not.
    [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }
    /// Cancellation: throws operation_aborted.
    [[nodiscard]] Task<> sleep_until(TimePoint when) const { return base_->sleep_until(when); }
    [[nodiscard]] Task<> sleep_for(Duration duration) const
    {
        return sleep_until(deadline_after(now(), duration));
    }
    /// Waits for the event; false when the deadline came first. It may also wake without either
    /// having happened (true), so look at what you wait for. Cancellation: throws
    /// operation_aborted. Lifetime: `event` outlives the wait.
    [[nodiscard]] Task<bool> wait(LoopEvent& event, TimePoint deadline) const
    {
        return base_->wait(event, deadline);
    }

    /// Resolves a host name; an address literal costs nothing. Runs on a helper thread that nobody
    /// ever waits for. Errors (thrown): bad_address (empty, or with a zero byte), lookup_failed,
    /// lookup_busy, no_resources. Cancellation: throws operation_aborted at once.
    [[nodiscard]] Task<std::vector<boost::asio::ip::address>> resolve(std::string host) const
    {
        phase(Phase::resolving);
        return base_->resolve(std::move(host));
    }

    /// Says what this link is at, for dump(), the stop report and the failure of a start that ran
    /// out of time; `detail` says with whom or where ("to 192.0.2.1:80"). Without
    /// effect in a coroutine that is no transport's. Lifetime: `detail` is copied.
    void phase(Phase phase, std::string_view detail = {}) const { base_->phase(phase, detail); }
    /// Says what was agreed on with the peer, such as a subprotocol; Link::protocol() gives it.
    /// Lifetime: `protocol` is copied.
    void negotiated(std::string_view protocol) const { base_->negotiated(protocol); }
    /// Says what came of one of the addresses that a connect tried, for Stats::last_connect: why it
    /// was not taken, or nothing for the one that was. `took`: since its attempt began. Lifetime:
    /// copied.
    void tried(std::string_view address, std::string_view outcome, Duration took) const
    {
        base_->tried(address, outcome, took);
    }
    /// Says what this task waits for next, for dump() and the stop report. Lifetime: a string
    /// literal.
    void waiting_for(const char* what) const { base_->waiting_for(what); }
    void log(LogLevel level, std::string_view text) const { base_->log(level, text); }

private:
    ContextBase* base_;
    TimePoint deadline_;
};

} // namespace sidecar
