// Feed: checks each call, finds its run, and waits if the call blocks.
#include <sidecar/feed.hpp>

#include "base/failures.hpp"
#include "base/real_time.hpp"
#include "feed/call.hpp"
#include "feed/run_registry.hpp"
#include "feed/validate_options.hpp"
#include "queue/memory_budget.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <system_error>
#include <utility>

namespace sidecar {

using namespace detail;

namespace {

constexpr Duration report_time = std::chrono::milliseconds{20};

Options with_inbox(Options options, const LinkConfig& first)
{
    options.inbox = inbox_limits(options.inbox, first.max_message_bytes());
    return options;
}

/// Returns how long a start in the background may take.
Duration default_timeout(const Options& options)
{
    const auto reconnect = options.reconnect.value_or(Reconnect{});
    return reconnect.at_start ? Duration::max() : reconnect.connect_timeout;
}

Result<void> validate_opening(const LinkConfig& config, const LinkOptions& options,
                              const Options& run)
{
    return config.client_settings() ? validate_listener(config, options, run)
                                    : validate_link(config, options, run);
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

Feed::Feed(std::shared_ptr<const LinkConfig> config, Options settings)
    : owner_{RunRegistry::make(std::move(config), std::move(settings))}, runs_{owner_.get()}
{
}

void Feed::end() noexcept
{
    auto* const runs = runs_.load();
    if (!runs || runs->is_forked())
        return;
    const auto run = runs->present();
    if (!run || run->stop_request().is_over())
        return runs->count_stop_request(); // wakes sleep_for()
    try {
        if (run->is_loop_thread()) {
            runs->count_stop_request();
            run->abandon();
        } else {
            (void)stop();
        }
    } catch (const std::exception& e) {
        run->journal().log_without_hook(LogLevel::error, e.what());
    }
}

// --- start and links

Result<void> Feed::start_run(std::shared_ptr<const LinkConfig> config, Duration timeout)
{
    try {
        const auto begun = begin_run(std::move(config), timeout);
        if (!begun)
            return begun.error();
        const auto& run = *begun;
        // The loop gives up at the deadline and knows the reason; 20 ms more let it report that.
        const auto deadline = deadline_after(run->deadline_of(timeout), report_time);
        auto outcome = run->wait_for_link(*run->links().first(), deadline);
        if (!outcome) {
            auto failure = run->explain(outcome.error().with_retry(false));
            run->request_stop();
            (void)run->wait_stopped(Duration::max());
            run->set_start_failed();
            return failure;
        }
        return outcome;
    } catch (...) {
        return thrown("start");
    }
}

Result<void> Feed::start_in_background(std::optional<Duration> timeout)
{
    try {
        const auto begun = begin_run({}, timeout);
        return begun ? Result<void>{} : Result<void>{begun.error()};
    } catch (...) {
        return thrown("start");
    }
}

Result<void> Feed::wait_started(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused_or_stopping("wait for the start", true))
        return std::move(*failure);
    auto outcome = call->wait_for_link(*call->links().first(), call->deadline_of(timeout));
    call.complete(outcome, "wait for the start");
    return outcome;
}

Result<std::shared_ptr<Run>> Feed::begin_run(std::shared_ptr<const LinkConfig> config,
                                             std::optional<Duration> given_timeout)
{
    constexpr auto attempted = "start";
    const Call call{*this};
    if (auto refusal = call.refused_without_run(attempted))
        return std::move(*refusal);
    auto& runs = *call.runs();
    const auto stops_before = runs.stop_requests();
    if (!config)
        config = runs.config();
    const auto options = with_inbox(runs.options(), *config);
    const auto timeout = given_timeout.value_or(default_timeout(options));
    auto link_options = options.link_options();
    {
        const auto lock = runs.lock();
        link_options.subscriptions = runs.subscriptions(); // must be valid with this config
    }
    for (const auto& valid :
         {validate_run(options), validate_opening(*config, link_options, options)})
        if (!valid)
            return of_call(valid.error(), attempted, config->endpoint());
    if (call && call->is_loop_thread())
        return called_on_loop(attempted, config->endpoint());
    std::shared_ptr<Run> run;
    std::vector<std::shared_ptr<Run>> unreachable; // freed outside the lock
    {
        const auto lock = runs.lock();
        const auto& present = runs.present();
        const bool has_run = present && !present->stop_request().is_over();
        if (runs.is_stop_pending() || runs.stop_requests() != stops_before
            || (has_run && present->stop_request().is_made()))
            return of_call(Failure{Error::stopping, {.explanation = "call stop() before start()"}},
                           attempted, config->endpoint());
        if (has_run)
            return of_call(Error::already_started, attempted, config->endpoint());
        run = Run::make(options, *config, runs.readable());
        link_options.subscriptions = runs.subscriptions();
        (void)run->links().add(config, std::move(link_options), run->deadline_of(timeout));
        runs.set_stops_at_start(stops_before);
        unreachable = runs.replace(run);
        runs.set_config(std::move(config));
        // After replace(): other threads that see the run at work must be able to request its stop
        run->start_thread();
    }
    if (runs.stop_requests() != stops_before)
        run->request_stop();
    return run;
}

Result<Link> Feed::open_link(std::shared_ptr<const LinkConfig> config, LinkOptions options,
                             Duration timeout)
{
    constexpr auto attempted = "open a link";
    const Call call{*this};
    if (auto failure = call.refused(attempted, true))
        return std::move(*failure);
    try {
        if (auto same = call->check_clock(*config); !same)
            return of_call(same.error(), attempted, config->endpoint());
        if (auto valid = validate_opening(
                *config, options, with_inbox(call.runs()->options(), *call.runs()->config()));
            !valid)
            return of_call(valid.error(), attempted, config->endpoint());
        if (auto failure = call.refused_or_stopping(attempted, true))
            return std::move(*failure);
        const auto deadline = call->deadline_of(timeout);
        auto link = call->links().add(std::move(config), std::move(options), deadline);
        if (auto outcome = call->wait_for_link(*link, deadline_after(deadline, report_time));
            !outcome) {
            if (outcome.error() == Error::timed_out) // nobody holds the link
                link->withdraw();
            return call->explain(outcome.error().with_retry(false));
        }
        return Link{call->shared_from_this(), std::move(link), call.runs()->fork_generation()};
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
                call.runs()->fork_generation()};
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
    return woke ? call.failure(Error::stopping, "call")
                : call->explain(call.failure(Error::timed_out, "call").with_retry(true));
}

// --- messages

Result<void> Feed::send_message(MessageKind kind, std::span<const std::byte> payload,
                                const SendOptions& options)
{
    const Call call{*this};
    if (auto failure = call.refused("send", false))
        return std::move(*failure);
    auto result = call->links().first()->writer().send(kind, payload, options);
    call.complete(result, "send");
    return result;
}

Result<Message> Feed::request_message(std::string_view topic, MessageKind kind,
                                      std::span<const std::byte> payload, Duration timeout,
                                      std::span<const Header> headers)
{
    const Call call{*this};
    if (auto failure = call.refused("request", true))
        return std::move(*failure);
    auto answer = call->links().first()->requests().request(topic, kind, payload, timeout, headers);
    call.complete(answer, "request");
    return answer;
}

Result<void> Feed::flush(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("flush", true))
        return std::move(*failure);
    auto result = call->links().first()->writer().flush(timeout);
    call.complete(result, "flush");
    return result;
}

Result<Message> Feed::receive(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("receive", true))
        return std::move(*failure);
    // One object for all returns: a message holds its bytes, so each move would copy them
    auto message = call->inbox().receive(timeout);
    call.complete(message, "receive");
    return message;
}

Result<Event> Feed::next_event(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("wait for an event", true))
        return std::move(*failure);
    auto event = call->inbox().next_event(timeout);
    call.complete(event, "wait for an event");
    return event;
}

Result<std::size_t> Feed::poll_messages(MessageHandler handler, std::size_t limit)
{
    const Call call{*this};
    if (auto failure = call.refused("poll", true))
        return std::move(*failure);
    if (call->virtual_time() && !call->inbox().has_something())
        call->settle();
    auto count = call->inbox().poll(handler, limit);
    call.complete(count, "poll");
    if (const auto* const time = call->virtual_time();
        time && count && *count == 0 && time->is_at_limit())
        return call.failure(Error::time_limit, "poll");
    return count;
}

// --- stopping

TimePoint Feed::now() const
{
    const Call call{*this};
    if (call.has_run())
        return call->now();
    if (!call.runs() || !call.runs()->config()->is_virtual())
        return real_now();
    const auto clock = call.runs()->config()->mock_clock();
    return clock ? clock->now() : TimePoint{};
}

bool Feed::sleep_for(Duration duration)
{
    std::optional<Call> counted{std::in_place, *this};
    const auto& call = *counted;
    if (call.refused_without_run("sleep"))
        return false;
    auto& runs = *call.runs();
    const auto stops_before = runs.stops_at_start();
    const bool has_run = call && !call->has_start_failed();
    if (runs.is_stop_pending() || runs.stop_requests() != stops_before
        || (has_run && (call->is_loop_thread() || call->stop_request().is_made())))
        return false;
    if (!runs.config()->is_virtual()) {
        runs.begin_sleep();
        counted.reset();
        return runs.sleep_until(deadline_after(real_now(), duration), stops_before);
    }
    bool is_over = true;
    if (has_run) {
        const auto until = call->deadline_of(duration);
        (void)call->wait_for_stop_request(until);
        is_over = call->now() >= until;
    } else if (const auto clock = runs.config()->mock_clock()) {
        is_over = time_of(*clock)->advance(duration);
    }
    return is_over && runs.stop_requests() == stops_before;
}

void Feed::request_stop() noexcept
{
    if (auto* const runs = runs_.load())
        runs->request_stop();
}

Result<StopReport> Feed::wait_stopped(Duration timeout)
{
    const Call call{*this};
    // There is a report even after a failed start.
    if (auto failure = call.refused("wait for the stop", true);
        failure && !(*failure == Error::not_started && call))
        return std::move(*failure);
    // A request that came after that stop is not reported here.
    const bool was_over = call->stop_request().is_over();
    if (auto report = call->wait_stopped(timeout)) {
        if (!was_over)
            call.runs()->set_stop_pending(false);
        return std::move(*report);
    }
    return call->explain(call.failure(Error::timed_out, "wait for the stop").with_retry(true));
}

StopReport Feed::stop(CloseReason reason)
{
    if (auto* const runs = runs_.load()) // before the look for the run
        runs->count_stop_request();
    const Call call{*this};
    if (call.is_forked())
        return {};
    if (call)
        call->set_close_reason(std::move(reason));
    if (call && call->is_loop_thread()) {
        call->request_stop();
        return call->partial_report();
    }
    auto report = ReportBuilder::nothing_to_do();
    if (call) {
        call->request_stop();
        report = *call->wait_stopped(Duration::max());
    }
    if (call.runs())
        call.runs()->set_stop_pending(false);
    return report;
}

// --- questions

State Feed::state() const
{
    const Call call{*this};
    return call.can_look() && !call->has_start_failed() ? call->state() : State::idle;
}

Stats Feed::stats() const
{
    const Call call{*this};
    return call.can_look() ? call->stats() : Stats{};
}

std::vector<TopicStats> Feed::topic_stats() const
{
    const Call call{*this};
    return call.can_look() ? call->topic_stats() : std::vector<TopicStats>{};
}

ErrorLog Feed::errors() const
{
    const Call call{*this};
    return call.can_look() ? call->journal().distinct() : ErrorLog{};
}

std::string Feed::dump() const
{
    const Call call{*this};
    if (!call.runs())
        return "moved from";
    return call.can_look() ? call->dump() : "state idle";
}

Result<int> Feed::native_handle()
{
    const Call call{*this};
    if (auto refusal = call.refused_without_run("make an event descriptor"))
        return std::move(*refusal);
    try {
        return call.runs()->make_readable().get();
    } catch (const Exception& e) {
        return e.failure();
    }
}

} // namespace sidecar
