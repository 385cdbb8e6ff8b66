// Feed: checks each call, finds its run, and waits if the call blocks.
#include <sidecar/feed.hpp>

#include "base/failures.hpp"
#include "base/fork_guard.hpp"
#include "feed/run_registry.hpp"
#include "feed/validate_options.hpp"
#include "queue/memory_budget.hpp"

#include <new>
#include <system_error>
#include <utility>

namespace sidecar {

using namespace detail;

namespace {

/// Adds the call and the endpoint to a failure that does not name them.
Failure of_call(const Failure& failure, const char* attempted, const LinkConfig& config)
{
    if (!failure.attempted().empty() && !failure.endpoint().empty())
        return failure;
    return {static_cast<Error>(failure.code().value()),
            {.attempted = failure.attempted().empty() ? attempted : failure.attempted(),
             .endpoint = failure.endpoint().empty() ? config.endpoint() : failure.endpoint(),
             .cause = failure.cause(),
             .explanation = failure.explanation()}};
}

Options with_limits(Options options)
{
    const Options defaults;
    options.inbox = resolved(options.inbox, defaults.inbox.bytes);
    options.outbox = resolved(options.outbox, defaults.outbox.bytes);
    if (options.link.outbox)
        options.link.outbox = resolved(*options.link.outbox, options.outbox.bytes);
    return options;
}

/// Converts the current exception: a lack of resources, or one of the transport's code.
Failure thrown(const char* attempted)
{
    auto code = Error::callback_failed;
    try {
        throw;
    } catch (const std::bad_alloc&) {
        code = Error::no_resources;
    } catch (const std::system_error&) {
        code = Error::no_resources;
    } catch (const boost::system::system_error&) {
        code = Error::no_resources;
    } catch (...) {
    }
    return to_failure(std::current_exception(), code, attempted, {});
}

} // namespace

/// One call of the application: the run that it found, and whether it may continue.
class Feed::Call {
public:
    explicit Call(const Feed& feed) noexcept
        : feed_{feed}, run_{feed.runs_->begin_call(calls_)}, is_forked_{feed.is_forked()}
    {
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { calls_->fetch_sub(1, std::memory_order_release); }

    [[nodiscard]] Run* operator->() const noexcept { return run_; }
    /// Returns whether there is a run of this process.
    [[nodiscard]] explicit operator bool() const noexcept { return run_ && !is_forked_; }

    /// Returns why this call cannot continue; empty: it can. `waits`: it may block.
    [[nodiscard]] std::optional<Failure> refused(const char* attempted, bool waits) const
    {
        if (is_forked_)
            return failure(Error::forked, attempted);
        if (!run_ || run_->has_start_failed())
            return failure(Error::not_started, attempted);
        if (waits && run_->is_loop_thread())
            return called_on_loop(attempted, feed_.config_->endpoint());
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
        return of_call(code, attempted, *feed_.config_);
    }
    /// Names the call and the endpoint in `stopped`: the inbox knows neither.
    template <class T>
    void name_if_stopped(Result<T>& result, const char* attempted) const
    {
        if (result.has_error() && result.error() == Error::stopped) [[unlikely]]
            result = failure(Error::stopped, attempted);
    }

private:
    const Feed& feed_;                  // app side
    std::atomic<int>* calls_ = nullptr; // app side
    Run* const run_;                    // app side
    const bool is_forked_;              // app side
};

Feed::Feed(std::shared_ptr<const LinkConfig> config, Options settings)
    : config_{std::move(config)},
      options_{with_limits(std::move(settings))},
      fork_generation_{fork_generation()},
      runs_{std::make_shared<RunRegistry>()}
{
}

void Feed::end() noexcept
{
    if (is_forked()) {
        runs_->leak();
        return;
    }
    const auto run = runs_->present();
    if (!run || run->stop_request().is_over())
        return;
    try {
        if (run->is_loop_thread())
            run->abandon();
        else
            (void)stop();
    } catch (const std::exception& e) {
        run->journal().log_without_hook(LogLevel::error, e.what());
    }
}

bool Feed::is_forked() const noexcept { return has_forked_since(fork_generation_); }

// --- start and links

Result<void> Feed::start(Duration timeout)
{
    try {
        return start_run(timeout);
    } catch (...) {
        return thrown("start");
    }
}

Result<void> Feed::start_run(Duration timeout)
{
    constexpr auto attempted = "start";
    const auto stops_before = runs_->stop_requests();
    if (is_forked())
        return of_call(Error::forked, attempted, *config_);
    for (const auto& valid :
         {validate_run(options_), validate_link(*config_, options_.link, options_.inbox)})
        if (!valid)
            return of_call(valid.error(), attempted, *config_);
    if (const Call call{*this}; call && call->is_loop_thread())
        return called_on_loop(attempted, config_->endpoint());
    std::shared_ptr<Run> run;
    std::shared_ptr<LinkImpl> link;
    std::vector<std::shared_ptr<Run>> unreachable; // freed outside the lock
    {
        const auto lock = runs_->lock();
        if (const auto& present = runs_->present(); present && !present->stop_request().is_over())
            return of_call(Error::already_started, attempted, *config_);
        if (runs_->stop_requests() != stops_before)
            return of_call(Error::stopping, attempted, *config_);
        run = Run::make(options_, config_->is_virtual(), runs_->readable());
        link = run->links().add(config_, options_.link, run->deadline_of(timeout));
        unreachable = runs_->replace(run);
        // After replace(): other threads that see the run at work must be able to request its stop
        run->start_thread();
    }
    if (runs_->stop_requests() != stops_before)
        run->request_stop();
    auto outcome = run->wait_for_link(*link, run->deadline_of(timeout));
    if (!outcome) {
        run->request_stop();
        (void)run->wait_stopped(Duration::max());
        run->set_start_failed();
    }
    return outcome;
}

Result<Link> Feed::open_link(std::shared_ptr<const LinkConfig> config, LinkOptions options,
                             Duration timeout)
{
    constexpr auto attempted = "open a link";
    const Call call{*this};
    if (auto failure = call.refused(attempted, true))
        return std::move(*failure);
    try {
        if (config->is_virtual() != call->is_virtual())
            return of_call(bad_options("its transport and the sidecar's first one run on different "
                                       "kinds of clock, real and virtual time"),
                           attempted, *config);
        if (options.outbox)
            options.outbox = resolved(*options.outbox, options_.outbox.bytes);
        if (auto valid = validate_link(*config, options, options_.inbox); !valid)
            return of_call(valid.error(), attempted, *config);
        if (auto failure = call.refused_or_stopping(attempted, true))
            return std::move(*failure);
        const auto deadline = call->deadline_of(timeout);
        auto link = call->links().add(std::move(config), options, deadline);
        if (auto outcome = call->wait_for_link(*link, deadline); !outcome)
            return outcome.error();
        return Link{call->shared_from_this(), std::move(link), fork_generation_};
    } catch (...) {
        return thrown(attempted);
    }
}

Result<Link> Feed::link()
{
    const Call call{*this};
    if (auto failure = call.refused("find the link", false))
        return std::move(*failure);
    return Link{call->shared_from_this(), call->links().first()->shared_from_this(),
                fork_generation_};
}

// --- the application's coroutines

Result<void> Feed::spawn_task(std::string name, TaskFactory factory)
{
    const Call call{*this};
    if (auto failure = call.refused_or_stopping("spawn", false))
        return std::move(*failure);
    call->user_tasks().spawn(std::move(name), std::move(factory), nullptr);
    return {};
}

Result<void> Feed::call_task(std::string name, TaskFactory factory,
                             const std::shared_ptr<CallState>& state, Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused_or_stopping("call", true))
        return std::move(*failure);
    call->user_tasks().spawn(std::move(name), std::move(factory), state);
    const bool woke = call->wait_for_call(*state, call->deadline_of(timeout));
    if (state->done.load(std::memory_order_seq_cst)) {
        if (state->was_stopped)
            return call.failure(Error::stopping, "call");
        return {};
    }
    return call.failure(woke ? Error::stopping : Error::timed_out, "call");
}

// --- messages

Result<void> Feed::send_message(MessageKind kind, std::span<const std::byte> payload,
                                const SendOptions& options)
{
    const Call call{*this};
    if (auto failure = call.refused("send", false))
        return std::move(*failure);
    return call->links().first()->writer().send(kind, payload, options);
}

Result<void> Feed::flush(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("flush", true))
        return std::move(*failure);
    return call->links().first()->writer().flush(timeout);
}

Result<Message> Feed::receive(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("receive", true))
        return std::move(*failure);
    // One object for all returns: a message holds its bytes, so each move would copy them
    auto message = call->inbox().receive(timeout);
    call.name_if_stopped(message, "receive");
    return message;
}

Result<Event> Feed::next_event(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("wait for an event", true))
        return std::move(*failure);
    auto event = call->inbox().next_event(timeout);
    call.name_if_stopped(event, "wait for an event");
    return event;
}

Result<std::size_t> Feed::poll_messages(MessageHandler handler, std::size_t limit)
{
    const Call call{*this};
    if (auto failure = call.refused("poll", true))
        return std::move(*failure);
    auto count = call->inbox().poll(handler, limit);
    call.name_if_stopped(count, "poll");
    return count;
}

// --- stopping

void Feed::request_stop() noexcept
{
    runs_->count_stop_request();
    if (const Call call{*this}; call)
        call->request_stop();
}

Result<StopReport> Feed::wait_stopped(Duration timeout)
{
    const Call call{*this};
    // There is a report even after a failed start.
    if (auto failure = call.refused("wait for the stop", true);
        failure && !(*failure == Error::not_started && call))
        return std::move(*failure);
    if (auto report = call->wait_stopped(timeout))
        return std::move(*report);
    return call.failure(Error::timed_out, "wait for the stop");
}

StopReport Feed::stop()
{
    runs_->count_stop_request();
    const Call call{*this};
    if (is_forked())
        return {};
    if (!call)
        return ReportBuilder::nothing_to_do();
    call->request_stop();
    return call->is_loop_thread() ? call->partial_report() : *call->wait_stopped(Duration::max());
}

// --- questions

State Feed::state() const
{
    const Call call{*this};
    return call && !call->has_start_failed() ? call->state() : State::idle;
}

Stats Feed::stats() const
{
    const Call call{*this};
    return call ? call->stats() : Stats{};
}

ErrorLog Feed::error_log() const
{
    const Call call{*this};
    return call ? call->journal().distinct() : ErrorLog{};
}

std::vector<Failure> Feed::errors() const
{
    const Call call{*this};
    return call ? call->journal().latest() : std::vector<Failure>{};
}

std::string Feed::dump() const
{
    const Call call{*this};
    return call ? call->dump() : "state idle";
}

Result<int> Feed::native_handle()
{
    if (is_forked())
        return of_call(Error::forked, "make an event descriptor", *config_);
    try {
        return runs_->make_readable().get();
    } catch (const Exception& e) {
        return e.failure();
    }
}

} // namespace sidecar
