// The application's side of a sidecar: checks who calls, finds the run that is meant, and waits
// where there is something to wait for.
#include <sidecar/detail/core.hpp>

#include "base/fork_guard.hpp"
#include "base/misuse.hpp"
#include "base/notify_fd.hpp"
#include "check_options.hpp"
#include "link_calls.hpp"
#include "queue/memory_budget.hpp"
#include "queue/overflow.hpp"
#include "run.hpp"
#include "runs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sidecar::detail {
namespace {

/// The same failure, which names the call and the object where it did not.
Failure of_call(const Failure& failure, const char* attempted, const std::string& endpoint)
{
    if (!failure.attempted().empty() && !failure.endpoint().empty())
        return failure;
    return {static_cast<Error>(failure.code().value()),
            {.attempted = failure.attempted().empty() ? attempted : failure.attempted(),
             .endpoint = failure.endpoint().empty() ? endpoint : failure.endpoint(),
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

} // namespace

/// One call of the application's: the run that it found, and whether it may go on.
class Core::Call {
public:
    explicit Call(const Core& core) noexcept
        : core_{core}, lease_{*core.runs_}, is_forked_{core.is_forked()}
    {
    }

    [[nodiscard]] Run* operator->() const noexcept { return lease_.get(); }
    [[nodiscard]] Run& operator*() const noexcept { return *lease_.get(); }
    [[nodiscard]] explicit operator bool() const noexcept { return lease_.get() != nullptr; }

    /// Why this call cannot go on; `waits` if it may block.
    [[nodiscard]] std::optional<Failure> refused(const char* attempted, bool waits) const
    {
        const auto* run = lease_.get();
        if (is_forked_)
            return failure(Error::forked, attempted);
        if (!run || run->has_start_failed())
            return failure(Error::not_started, attempted);
        if (waits && run->is_loop_thread())
            return called_on_loop(attempted, endpoint());
        return std::nullopt;
    }
    /// The same for what a stop refuses.
    [[nodiscard]] std::optional<Failure> refused_or_stopping(const char* attempted,
                                                             bool waits) const
    {
        if (auto refusal = refused(attempted, waits))
            return refusal;
        const auto& stop = lease_.get()->stop_request();
        return stop.is_made() ? std::optional<Failure>{failure(stop.refusal(), attempted)}
                              : std::nullopt;
    }
    [[nodiscard]] Failure failure(Error code, const char* attempted) const
    {
        return {code, {.attempted = attempted, .endpoint = endpoint()}};
    }
    /// The inbox knows neither the call nor the endpoint.
    template <class T>
    void name_if_stopped(Result<T>& result, const char* attempted) const
    {
        if (result.has_error() && result.error() == Error::stopped) [[unlikely]]
            result = failure(Error::stopped, attempted);
    }

private:
    [[nodiscard]] std::string endpoint() const { return core_.config_->endpoint(); }

    const Core& core_;
    Runs::Lease lease_;
    bool is_forked_;
};

Core::Core(std::shared_ptr<const LinkConfig> config, Options options)
    : config_{std::move(config)},
      options_{with_limits(std::move(options))},
      fork_generation_{fork_generation()},
      runs_{std::make_unique<Runs>()}
{
}

Core::~Core()
{
    if (is_forked())
        runs_->leak();
    else
        stop_in_destructor();
}

void Core::stop_in_destructor() noexcept
{
    const auto run = runs_->present();
    try {
        if (!run || run->stop_request().is_over())
            return;
        if (run->is_loop_thread())
            run->abandon();
        else
            (void)stop();
    } catch (const std::exception& e) {
        run->journal().log(LogLevel::error,
                           fmt::format("cannot stop in the destructor: {}", e.what()));
    }
}

bool Core::is_forked() const noexcept { return has_forked_since(fork_generation_); }

Result<void> Core::check_start() const
{
    if (is_forked())
        return Failure{Error::forked, {.attempted = "start", .endpoint = config_->endpoint()}};
    for (const auto& checked :
         {config_->check(), check_inbox(options_.inbox, config_->max_message_bytes()),
          check_outbox(options_.outbox), check_link(options_.link),
          check_upkeep(options_.link, *config_),
          check_overflow(options_.link.overflow, config_->max_message_bytes()),
          check_budget(options_.stop)})
        if (!checked)
            return of_call(checked.error(), "start", config_->endpoint());
    return {};
}

Result<void> Core::start(Duration timeout)
{
    if (auto checked = check_start(); !checked)
        return checked;
    std::shared_ptr<LinkImpl> link;
    std::vector<Runs::Retired> unreachable; // freed outside the lock
    {
        if (const Call call{*this}; call && call->is_loop_thread())
            return called_on_loop("start", config_->endpoint());
        const auto lock = runs_->lock();
        if (const auto& present = runs_->present(); present && !present->stop_request().is_over())
            return Failure{Error::already_started,
                           {.attempted = "start", .endpoint = config_->endpoint()}};
        try {
            auto run = Run::make(options_, config_->is_virtual(), runs_->readable);
            link = run->links().add(config_, options_.link, deadline_of(*run, timeout));
            unreachable = runs_->replace(std::move(run));
            // Not before: who sees a sign of life of it must be able to request its stop
            runs_->present()->start_thread();
        } catch (...) {
            return to_failure(std::current_exception(), Error::no_resources, "start",
                              config_->endpoint());
        }
    }
    const Call call{*this};
    auto outcome = call->wait_for_outcome(*link, deadline_of(*call, timeout));
    if (!outcome) {
        call->request_stop();
        (void)call->wait_stopped(Duration::max());
        call->set_start_failed();
    }
    return outcome;
}

Result<LinkRef> Core::open(std::shared_ptr<const LinkConfig> config, LinkOptions options,
                           Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("open a link", true))
        return std::move(*failure);
    if (config->is_virtual() != call->is_virtual())
        return Failure{Error::bad_options,
                       {.attempted = "open a link",
                        .endpoint = config->endpoint(),
                        .explanation = "its transport and the sidecar's first one run on different "
                                       "kinds of clock, real and virtual time"}};
    if (options.outbox)
        options.outbox = resolved(*options.outbox, options_.outbox.bytes);
    for (const auto& checked :
         {config->check(), check_inbox(options_.inbox, config->max_message_bytes()),
          check_link(options), check_upkeep(options, *config),
          check_overflow(options.overflow, config->max_message_bytes())})
        if (!checked)
            return of_call(checked.error(), "open a link", config->endpoint());
    if (auto failure = call.refused_or_stopping("open a link", true))
        return std::move(*failure);
    const auto deadline = deadline_of(*call, timeout);
    auto link = call->links().add(std::move(config), options, deadline);
    if (auto outcome = call->wait_for_outcome(*link, deadline); !outcome)
        return outcome.error();
    return LinkRef{call->shared_from_this(), std::move(link), fork_generation_};
}

Result<LinkRef> Core::first_link()
{
    const Call call{*this};
    if (auto failure = call.refused("find the link", false))
        return std::move(*failure);
    return LinkRef{call->shared_from_this(), call->links().first()->shared_from_this(),
                   fork_generation_};
}

Result<void> Core::spawn(std::string name, TaskFactory factory)
{
    const Call call{*this};
    if (auto failure = call.refused_or_stopping("spawn", false))
        return std::move(*failure);
    call->user_tasks().spawn(std::move(name), std::move(factory), nullptr);
    return {};
}

Result<void> Core::call(std::string name, TaskFactory factory,
                        const std::shared_ptr<CallState>& state, Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused_or_stopping("call", true))
        return std::move(*failure);
    call->user_tasks().spawn(std::move(name), std::move(factory), state);
    const bool woke = call->wait_for_call(*state, deadline_of(*call, timeout));
    if (state->done.load(std::memory_order_seq_cst)) {
        if (state->was_stopped)
            return call.failure(Error::stopping, "call");
        return {};
    }
    return call.failure(woke ? Error::stopping : Error::timed_out, "call");
}

Result<void> Core::send(MessageKind kind, std::span<const std::byte> payload, Duration timeout)
{
    return send(kind, payload, SendOptions{.timeout = timeout});
}

Result<void> Core::send(MessageKind kind, std::span<const std::byte> payload,
                        const SendOptions& options)
{
    const Call call{*this};
    if (auto failure = call.refused("send", false))
        return std::move(*failure);
    return send_on(*call, *call->links().first(), kind, payload, options);
}

Result<void> Core::flush(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("flush", true))
        return std::move(*failure);
    return call->links().first()->flush(deadline_of(*call, timeout));
}

Result<Message> Core::receive(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("receive", true))
        return std::move(*failure);
    // One object for all returns: a message holds its bytes, so each move would copy them
    auto message = call->inbox().receive(timeout);
    call.name_if_stopped(message, "receive");
    return message;
}

Result<Event> Core::next_event(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("wait for an event", true))
        return std::move(*failure);
    auto event = call->inbox().next_event(timeout);
    call.name_if_stopped(event, "wait for an event");
    return event;
}

Result<std::size_t> Core::poll(MessageHandler handler, std::size_t limit)
{
    const Call call{*this};
    if (auto failure = call.refused("poll", true))
        return std::move(*failure);
    auto count = call->inbox().poll(handler, limit);
    call.name_if_stopped(count, "poll");
    return count;
}

void Core::request_stop() noexcept
{
    if (is_forked())
        return;
    if (const Call call{*this}; call)
        call->request_stop();
}

Result<StopReport> Core::wait_stopped(Duration timeout)
{
    const Call call{*this};
    // After a failed start there is a report still.
    if (auto failure = call.refused("wait for the stop", true);
        failure && !(*failure == Error::not_started && call))
        return std::move(*failure);
    if (auto report = call->wait_stopped(timeout))
        return std::move(*report);
    return call.failure(Error::timed_out, "wait for the stop");
}

StopReport Core::stop()
{
    request_stop();
    if (auto report = wait_stopped(Duration::max()))
        return std::move(*report);
    const Call call{*this};
    if (call && !is_forked())
        return call->partial_report();
    return is_forked() ? StopReport{} : ReportBuilder::nothing_to_do();
}

State Core::state() const
{
    const Call call{*this};
    return call && !is_forked() && !call->has_start_failed() ? call->state() : State::idle;
}

Stats Core::stats() const
{
    const Call call{*this};
    return call && !is_forked() ? call->stats() : Stats{};
}

ErrorLog Core::error_log() const
{
    const Call call{*this};
    return call && !is_forked() ? call->journal().distinct() : ErrorLog{};
}

std::vector<Failure> Core::errors() const
{
    const Call call{*this};
    return call && !is_forked() ? call->journal().latest() : std::vector<Failure>{};
}

std::string Core::dump() const
{
    const Call call{*this};
    return call && !is_forked() ? call->dump() : "state idle";
}

Result<int> Core::native_handle()
{
    if (is_forked())
        return Failure{Error::forked,
                       {.attempted = "make an event descriptor", .endpoint = config_->endpoint()}};
    const auto lock = runs_->lock();
    try {
        if (!runs_->readable) {
            runs_->readable = std::make_shared<NotifyFd>();
            if (const auto& present = runs_->present())
                present->inbox().notify_through(runs_->readable);
        }
    } catch (const Exception& e) {
        return e.failure();
    }
    return runs_->readable->get();
}

} // namespace sidecar::detail
