#include "loop/tasks.hpp"

#include "base/real_time.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

namespace sidecar::detail {
namespace {

namespace asio = boost::asio;

Duration::rep real_ticks() noexcept { return real_now().time_since_epoch().count(); }

/// Wraps the loop's executor; adds TaskScope::Running around what it runs, and runs nothing once its
/// run has left the loop. Three words, so that any_io_executor holds it in place.
template <class Inner>
class TaskExecutor {
public:
    TaskExecutor(Inner inner, TaskSlot& slot, std::uint64_t epoch) noexcept
        : inner_{std::move(inner)}, slot_{&slot}, epoch_{epoch}
    {
    }

    template <class F>
    void execute(F&& function) const
    {
        inner_.execute([slot = slot_, epoch = epoch_,
                        f = std::decay_t<F>(std::forward<F>(function))]() mutable {
            auto& scope = slot->scope;
            if (scope.epoch() != epoch)
                return;
            try {
                TaskScope::Running running{scope, *slot};
                std::move(f)();
            } catch (...) {
                scope.on_failure(std::current_exception());
            }
        });
    }

    template <class Property>
        requires asio::can_query_v<const Inner&, Property>
    [[nodiscard]] auto query(const Property& property) const -> decltype(auto)
    {
        return asio::query(inner_, property);
    }
    template <class Property>
        requires asio::can_require_v<const Inner&, Property>
    [[nodiscard]] auto require(const Property& property) const
    {
        return TaskExecutor<std::decay_t<decltype(asio::require(inner_, property))>>{
            asio::require(inner_, property), *slot_, epoch_};
    }
    template <class Property>
        requires asio::can_prefer_v<const Inner&, Property>
    [[nodiscard]] auto prefer(const Property& property) const
    {
        return TaskExecutor<std::decay_t<decltype(asio::prefer(inner_, property))>>{
            asio::prefer(inner_, property), *slot_, epoch_};
    }

    friend bool operator==(const TaskExecutor& a, const TaskExecutor& b) noexcept
    {
        return a.inner_ == b.inner_ && a.slot_ == b.slot_ && a.epoch_ == b.epoch_;
    }

private:
    Inner inner_;
    TaskSlot* slot_;
    std::uint64_t epoch_;
};

using LoopTaskExecutor = TaskExecutor<asio::io_context::executor_type>;
static_assert(sizeof(LoopTaskExecutor) <= 3 * sizeof(void*), "it would not be held in place");

/// Since when the task that holds the thread runs.
Duration held_for(const ThreadUse& use) noexcept
{
    return Duration{
        std::max<Duration::rep>(real_ticks() - use.since.load(std::memory_order_relaxed), 0)};
}

constexpr const char* holds_the_thread = "running: it holds the loop's thread";

} // namespace

void TaskSlot::waiting(const char* what, TimePoint now) noexcept
{
    waiting_for.store(what, std::memory_order_relaxed);
    since.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

TaskScope::Running::Running(TaskScope& scope, TaskSlot& slot) noexcept
    : scope_{scope},
      slot_{slot},
      outer_{scope.use_.current.load(std::memory_order_relaxed)},
      began_{real_ticks()}
{
    ++scope_.turn_;
    scope_.use_.since.store(began_, std::memory_order_relaxed);
    scope_.use_.current.store(&slot, std::memory_order_release);
}

TaskScope::Running::~Running()
{
    const auto busy = real_ticks() - began_;
    if (busy > scope_.longest_busy_.load(std::memory_order_relaxed) && &slot_ != &scope_.own_)
        scope_.note_busy(slot_, busy);
    scope_.use_.current.store(outer_, std::memory_order_release);
}

TaskScope::Marked::Marked(TaskScope& scope) noexcept
    : use_{scope.use_}, outer_{scope.use_.current.load(std::memory_order_relaxed)}
{
    ::timespec now{}; // the coarse clock costs next to nothing
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const Duration since{std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
    use_.since.store(since.count(), std::memory_order_relaxed);
    use_.current.store(&scope.own_, std::memory_order_release);
}

void TaskScope::note_busy(const TaskSlot& slot, Duration::rep busy) noexcept
{
    longest_busy_.store(busy, std::memory_order_relaxed);
    std::lock_guard lock{mutex_};
    if (!slot.name.empty())
        longest_busy_task_ = slot.name;
}

void TaskScope::lend(std::string owner, const Timers& timers)
{
    std::lock_guard lock{mutex_};
    owner_ = std::move(owner);
    timers_ = &timers;
    own_.name = "what the sidecar does itself";
    longest_busy_ = 0;
    longest_busy_task_.clear();
}

void TaskScope::release() noexcept
{
    on_end = nullptr;
    std::lock_guard lock{mutex_};
    timers_ = nullptr;
}

TaskSlot& TaskScope::open(std::string name)
{
    std::lock_guard lock{mutex_};
    TaskSlot* slot = nullptr;
    if (free_.empty()) {
        slot = &slots_.emplace_back(*this);
        free_.reserve(slots_.size()); // so that finish() cannot fail
    } else {
        slot = free_.back();
        free_.pop_back();
    }
    slot->name = std::move(name);
    slot->in_use = true;
    slot->was_cancelled = false;
    slot->is_expected_to_end = false;
    slot->waiting("its first turn", timers_->now());
    return *slot;
}

asio::any_io_executor TaskScope::executor(TaskSlot& slot)
{
    return LoopTaskExecutor{io_.get_executor(), slot, epoch_};
}

/// Counts a task as ended when it goes.
struct TaskScope::Finish {
    Finish(TaskScope& its_scope, TaskSlot& its_slot) noexcept : scope{its_scope}, slot{its_slot} {}
    Finish(const Finish&) = delete;
    Finish& operator=(const Finish&) = delete;
    ~Finish() { scope.finish(slot); }
    TaskScope& scope;
    TaskSlot& slot;
};

void TaskScope::spawn(TaskSlot& slot, Task<> task, Completion completion)
{
    latch_.count_up();
    asio::co_spawn(executor(slot), std::move(task),
                   asio::bind_cancellation_slot(
                       slot.cancellation.slot(),
                       [this, &slot, done = std::move(completion)](std::exception_ptr exception) {
                           // Also where `done` throws: the stop waits for the end of each task.
                           const Finish end{*this, slot};
                           if (done)
                               done(std::move(exception));
                       }));
}

void TaskScope::finish(TaskSlot& slot)
{
    {
        std::lock_guard lock{mutex_};
        slot.in_use = false;
        free_.push_back(&slot);
    }
    latch_.count_down();
    if (on_end)
        on_end();
}

void TaskScope::cancel(TaskSlot& slot)
{
    slot.was_cancelled = true;
    asio::post(io_, [&slot] {
        if (slot.was_cancelled)
            slot.cancellation.emit(asio::cancellation_type::terminal);
    });
}

std::vector<TaskReport> TaskScope::cancel_all()
{
    std::vector<TaskReport> reports;
    std::lock_guard lock{mutex_};
    for (auto& slot : slots_) {
        if (!slot.in_use || slot.was_cancelled)
            continue;
        if (!slot.is_expected_to_end)
            reports.push_back(describe(slot));
        cancel(slot);
    }
    return reports;
}

TaskReport TaskScope::describe(const TaskSlot& slot) const
{
    const auto ago = [](Duration::rep since, Duration::rep now) {
        return Duration{std::max<Duration::rep>(now - since, 0)};
    };
    TaskReport report{.name = slot.name, .waiting_for = {}, .since = {}};
    if (use_.current.load(std::memory_order_acquire) == &slot) {
        report.waiting_for = holds_the_thread;
        report.since = held_for(use_);
    } else {
        if (const auto* what = slot.waiting_for.load(std::memory_order_relaxed))
            report.waiting_for = what;
        report.since = ago(slot.since.load(std::memory_order_relaxed),
                           timers_->now().time_since_epoch().count());
    }
    return report;
}

std::vector<TaskReport> TaskScope::snapshot() const
{
    std::lock_guard lock{mutex_};
    std::vector<TaskReport> reports;
    for (const auto& slot : slots_)
        if (slot.in_use)
            reports.push_back(describe(slot));
    return reports;
}

std::optional<TaskReport> TaskScope::foreign_holder() const
{
    const auto* slot = use_.current.load(std::memory_order_acquire);
    if (!slot || &slot->scope == this)
        return std::nullopt;
    std::lock_guard lock{slot->scope.mutex_};
    return TaskReport{.name = slot->name + " (of " + slot->scope.owner_ + ")",
                      .waiting_for = holds_the_thread,
                      .since = held_for(use_)};
}

std::string TaskScope::longest_busy_task() const
{
    std::lock_guard lock{mutex_};
    return longest_busy_task_;
}

} // namespace sidecar::detail
