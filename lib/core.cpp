// The application's side of a sidecar: checks who calls, finds the running loop, and waits where
// there is something to wait for.
#include <sidecar/detail/core.hpp>

#include "loop/loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <pthread.h>
#include <thread>
#include <utility>

namespace sidecar::detail {
namespace {

std::atomic<std::uint64_t> forks{0};

/// How often this process image has been forked off another; in a child it differs from what the
/// parent's objects saw.
std::uint64_t fork_generation() noexcept
{
    static const int registered = ::pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
    (void)registered;
    return forks.load(std::memory_order_relaxed);
}

bool has_forked_since(std::uint64_t generation) noexcept
{
    return forks.load(std::memory_order_relaxed) != generation;
}

Failure misuse(const char* attempted)
{
    return {Error::misuse,
            {.attempted = attempted, .explanation = "called on the loop's own thread"}};
}

Result<void> check_limits(const char* name, const QueueLimits& limits,
                          std::size_t max_message_bytes, std::size_t factor)
{
    const auto refuse = [&](std::string why) -> Result<void> {
        return Failure{Error::bad_options,
                       {.attempted = "start", .explanation = fmt::format("{}: {}", name, why)}};
    };
    if (limits.messages == 0)
        return refuse("room for 0 messages");
    if (max_message_bytes > UINT32_MAX)
        return refuse(fmt::format("messages of up to {} bytes; the most there can be is {}",
                                  max_message_bytes, UINT32_MAX));
    if (limits.bytes / factor < max_message_bytes)
        return refuse(
            fmt::format("{} bytes are too few for messages of up to {}; it needs at least {}",
                        limits.bytes, max_message_bytes, factor * max_message_bytes));
    return {};
}

Result<void> check_budget(const StopBudget& budget)
{
    const auto zero = Duration{};
    if (budget.total <= zero || budget.drain < zero || budget.close < zero || budget.cancel < zero)
        return Failure{Error::bad_options,
                       {.attempted = "start",
                        .explanation = "stop: the total must be positive, no stage negative"}};
    return {};
}

TimePoint deadline_of(const Loop& loop, Duration timeout)
{
    return deadline_after(loop.now(), std::max(timeout, Duration{}));
}

/// For send: a deadline that stands for "do not wait" when there is nothing to wait for.
TimePoint send_deadline(const Loop& loop, Duration timeout)
{
    return timeout <= Duration{} ? TimePoint{} : deadline_of(loop, timeout);
}

} // namespace

/// Keeps the loop that it found from being freed while a call uses it.
class Core::Call {
public:
    explicit Call(const Core& core) noexcept
    {
        for (;;) {
            const auto generation = core.generation_.load(std::memory_order_seq_cst);
            calls_ = &core.calls_[generation % 2];
            calls_->fetch_add(1, std::memory_order_seq_cst);
            if (core.generation_.load(std::memory_order_seq_cst) == generation)
                break;
            // A start came between: counted in the wrong place
            calls_->fetch_sub(1, std::memory_order_release);
        }
        is_forked_ = core.is_forked();
        loop_ = core.loop_.load(std::memory_order_seq_cst);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { calls_->fetch_sub(1, std::memory_order_release); }

    [[nodiscard]] Loop* operator->() const noexcept { return loop_; }
    [[nodiscard]] Loop& operator*() const noexcept { return *loop_; }
    [[nodiscard]] explicit operator bool() const noexcept { return loop_ != nullptr; }

    /// Why this call cannot go on; `waits` if it may block.
    [[nodiscard]] std::optional<Failure> refused(const char* attempted, bool waits) const
    {
        if (is_forked_)
            return Failure{Error::forked, {.attempted = attempted}};
        if (!loop_ || loop_->has_start_failed())
            return Failure{Error::not_started, {.attempted = attempted}};
        if (waits && loop_->is_loop_thread())
            return misuse(attempted);
        return std::nullopt;
    }

private:
    std::atomic<int>* calls_;
    bool is_forked_;
    Loop* loop_;
};

Core::Core(std::shared_ptr<const LinkConfig> config, bool is_virtual, Options options)
    : config_{std::move(config)},
      is_virtual_{is_virtual},
      options_{std::move(options)},
      fork_generation_{fork_generation()}
{
}

Core::~Core()
{
    if (is_forked()) {
        // The thread is the parent's, and so are its locks and descriptors: nothing of them may be
        // touched here.
        new std::shared_ptr<Loop>{std::move(owner_)};
        new std::vector<Retired>{std::move(retired_)};
        return;
    }
    stop_in_destructor();
}

void Core::stop_in_destructor() noexcept
{
    try {
        if (!owner_ || owner_->is_over())
            return;
        if (owner_->is_loop_thread())
            owner_->abandon();
        else
            (void)stop();
    } catch (const std::exception& e) {
        owner_->log(LogLevel::error, fmt::format("cannot stop in the destructor: {}", e.what()));
    }
}

bool Core::is_forked() const noexcept { return has_forked_since(fork_generation_); }

Result<void> Core::start(Duration timeout)
{
    if (is_forked())
        return Failure{Error::forked, {.attempted = "start"}};
    if (auto checked = config_->check(); !checked)
        return checked;
    if (auto checked = check_limits("inbox", options_.inbox, config_->max_message_bytes(), 4);
        !checked)
        return checked;
    if (auto checked = check_limits("outbox", options_.outbox, 64, 4); !checked)
        return checked;
    if (auto checked = check_budget(options_.stop); !checked)
        return checked;

    LinkImpl* link = nullptr;
    // Freed outside the lock: what the user's coroutines held may call us
    std::vector<Retired> unreachable;
    {
        if (const Call call{*this}; call && call->is_loop_thread())
            return misuse("start");
        std::lock_guard lock{start_mutex_};
        if (owner_ && !owner_->is_over())
            return Failure{Error::already_started,
                           {.attempted = "start", .endpoint = config_->endpoint()}};
        try {
            auto loop = std::make_shared<Loop>(options_, is_virtual_, readable_);
            link = &loop->add_link(config_, deadline_of(*loop, timeout));
            retired_.reserve(retired_.size() + 1);
            unreachable = replace_loop(std::move(loop));
            // Not before: who sees a sign of life of it must be able to request its stop
            owner_->start_thread();
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

/// With start_mutex_ held. A run that was replaced is freed once no call can use it: calls count
/// under the generation in which they began, generations take turns with two counters, and the next
/// begins when the last one's calls are over.
std::vector<Core::Retired> Core::replace_loop(std::shared_ptr<Loop> loop) noexcept
{
    std::vector<Retired> unreachable;
    const auto generation = generation_.load();
    if (owner_)
        retired_.push_back({std::move(owner_), generation});
    owner_ = std::move(loop);
    loop_.store(owner_.get(), std::memory_order_seq_cst);
    const auto& last_calls = calls_[(generation + 1) % 2];
    // They are short, since that run is over, but a thread may be off its core in the middle of
    // one.
    if (retired_.size() > 2)
        for (const auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds{20};
             last_calls.load(std::memory_order_seq_cst) != 0
             && std::chrono::steady_clock::now() < give_up;)
            std::this_thread::yield();
    if (last_calls.load(std::memory_order_seq_cst) != 0)
        return unreachable;
    generation_.store(generation + 1, std::memory_order_seq_cst);
    // In order of their generations.
    const auto reachable = std::find_if(retired_.begin(), retired_.end(), [&](const Retired& run) {
        return run.generation >= generation;
    });
    std::vector<Retired> kept{std::make_move_iterator(reachable),
                              std::make_move_iterator(retired_.end())};
    retired_.erase(reachable, retired_.end());
    unreachable = std::exchange(retired_, std::move(kept));
    return unreachable;
}

Result<LinkRef> Core::open(std::shared_ptr<const LinkConfig> config, Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("open a link", true))
        return std::move(*failure);
    if (auto checked = config->check(); !checked)
        return checked.error();
    if (auto checked = check_limits("inbox", options_.inbox, config->max_message_bytes(), 4);
        !checked)
        return checked.error();
    if (call->stop_requested())
        return call->is_over() ? Error::stopped : Error::stopping;
    const auto deadline = deadline_of(*call, timeout);
    auto& link = call->add_link(std::move(config), deadline);
    if (auto outcome = call->wait_for_outcome(link, deadline); !outcome)
        return outcome.error();
    return LinkRef{call->shared_from_this(), &link, fork_generation_};
}

Result<void> Core::spawn(std::string name, TaskFactory factory)
{
    const Call call{*this};
    if (auto failure = call.refused("spawn", false))
        return std::move(*failure);
    if (call->stop_requested())
        return call->is_over() ? Error::stopped : Error::stopping;
    call->spawn(std::move(name), std::move(factory), nullptr);
    return {};
}

Result<void> Core::call(std::string name, TaskFactory factory,
                        const std::shared_ptr<CallState>& state, Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("call", true))
        return std::move(*failure);
    if (call->stop_requested())
        return call->is_over() ? Error::stopped : Error::stopping;
    call->spawn(std::move(name), std::move(factory), state);
    const bool woke = call->wait_for_call(*state, deadline_of(*call, timeout));
    if (state->done.load(std::memory_order_seq_cst)) {
        if (state->was_stopped)
            return Error::stopping;
        return {};
    }
    return woke ? Failure{Error::stopping} : Failure{Error::timed_out, {.attempted = "call"}};
}

Result<void> Core::send(MessageKind kind, std::span<const std::byte> payload, Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("send", false))
        return std::move(*failure);
    auto result = call->first_link()->send(kind, payload, send_deadline(*call, timeout));
    if (!result)
        call->sends_refused.fetch_add(1, std::memory_order_relaxed);
    return result;
}

void Core::note_refused_send() noexcept
{
    if (const Call call{*this}; call && !is_forked())
        call->sends_refused.fetch_add(1, std::memory_order_relaxed);
}

Result<void> Core::flush(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("flush", true))
        return std::move(*failure);
    return call->first_link()->flush(deadline_of(*call, timeout));
}

Result<Message> Core::receive(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("receive", true))
        return std::move(*failure);
    return call->inbox().receive(timeout);
}

Result<Event> Core::next_event(Duration timeout)
{
    const Call call{*this};
    if (auto failure = call.refused("wait for an event", true))
        return std::move(*failure);
    return call->inbox().next_event(timeout);
}

Result<std::size_t> Core::poll(MessageHandler handler, std::size_t limit)
{
    const Call call{*this};
    if (auto failure = call.refused("poll", true))
        return std::move(*failure);
    return call->inbox().poll(handler, limit);
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
    return Failure{Error::timed_out, {.attempted = "wait for the stop"}};
}

StopReport Core::stop()
{
    request_stop();
    if (auto report = wait_stopped(Duration::max()))
        return std::move(*report);
    const Call call{*this};
    if (call && !is_forked())
        return call->partial_report();
    StopReport report;
    if (!is_forked()) {
        report.quiesce = report.drain = report.close = report.cancel =
            report.join = {Verdict::skipped, {}};
        report.joined = true;
    }
    return report;
}

State Core::state() const
{
    const Call call{*this};
    return call && !is_forked() && !call->has_start_failed() ? call->state() : State::idle;
}

Stats Core::stats() const
{
    Stats stats;
    if (const Call call{*this}; call && !is_forked())
        call->add_stats(stats);
    return stats;
}

std::vector<Failure> Core::errors() const
{
    const Call call{*this};
    return call && !is_forked() ? call->errors() : std::vector<Failure>{};
}

std::string Core::dump() const
{
    const Call call{*this};
    return call && !is_forked() ? call->dump() : "state idle";
}

Result<int> Core::native_handle()
{
    if (is_forked())
        return Failure{Error::forked, {.attempted = "make an event descriptor"}};
    std::lock_guard lock{start_mutex_};
    try {
        if (!readable_) {
            readable_ = std::make_shared<NotifyFd>();
            if (owner_)
                owner_->inbox().notify_through(readable_);
        }
    } catch (const Exception& e) {
        return e.failure();
    }
    return readable_->get();
}

Result<void> link_send(const LinkRef& ref, MessageKind kind, std::span<const std::byte> payload,
                       Duration timeout)
{
    if (has_forked_since(ref.fork_generation))
        return Failure{Error::forked, {.attempted = "send"}};
    auto result = ref.link->send(kind, payload, send_deadline(*ref.loop, timeout));
    if (!result)
        link_note_refused_send(ref);
    return result;
}

Result<void> link_flush(const LinkRef& ref, Duration timeout)
{
    if (has_forked_since(ref.fork_generation))
        return Failure{Error::forked, {.attempted = "flush"}};
    return ref.link->flush(deadline_of(*ref.loop, timeout));
}

void link_note_refused_send(const LinkRef& ref) noexcept
{
    ref.loop->sends_refused.fetch_add(1, std::memory_order_relaxed);
}

LinkId link_id(const LinkRef& ref) noexcept { return ref.link->id(); }

bool link_is_up(const LinkRef& ref) noexcept
{
    return !has_forked_since(ref.fork_generation) && ref.link->is_open();
}

} // namespace sidecar::detail
