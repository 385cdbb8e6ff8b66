#include "loop/tasks.hpp"

#include "base/real_time.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace sidecar::detail {
namespace {

namespace asio = boost::asio;

Duration::rep real_ticks() noexcept { return real_now().time_since_epoch().count(); }

/// Wraps the loop's executor; adds TaskScope::Running around what it runs. At most three words, so that
/// any_io_executor holds it in place.
template <class Inner>
class TaskExecutor {
public:
    TaskExecutor(Inner inner, TaskSlot& slot) noexcept : inner_{std::move(inner)}, slot_{&slot} {}

    template <class F>
    void execute(F&& function) const
    {
        inner_.execute([slot = slot_, f = std::decay_t<F>(std::forward<F>(function))]() mutable {
            const TaskScope::Running running{slot->scope, *slot};
            std::move(f)();
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
            asio::require(inner_, property), *slot_};
    }
    template <class Property>
        requires asio::can_prefer_v<const Inner&, Property>
    [[nodiscard]] auto prefer(const Property& property) const
    {
        return TaskExecutor<std::decay_t<decltype(asio::prefer(inner_, property))>>{
            asio::prefer(inner_, property), *slot_};
    }

    friend bool operator==(const TaskExecutor& a, const TaskExecutor& b) noexcept
    {
        return a.inner_ == b.inner_ && a.slot_ == b.slot_;
    }

private:
    Inner inner_;
    TaskSlot* slot_;
};

using LoopTaskExecutor = TaskExecutor<asio::io_context::executor_type>;
static_assert(sizeof(LoopTaskExecutor) <= 3 * sizeof(void*), "it would not be held in place");

} // namespace

void TaskSlot::waiting(const char* what, TimePoint now) noexcept
{
    waiting_for.store(what, std::memory_order_relaxed);
    since.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

TaskScope::Running::Running(TaskScope& scope, TaskSlot& slot) noexcept
    : scope_{scope},
      slot_{slot},
      outer_{scope.current_.load(std::memory_order_relaxed)},
      began_{real_ticks()}
{
    ++scope_.turn_;
    scope_.current_since_.store(began_, std::memory_order_relaxed);
    scope_.current_.store(&slot, std::memory_order_release);
}

TaskScope::Running::~Running()
{
    const auto busy = real_ticks() - began_;
    if (busy > scope_.longest_busy_.load(std::memory_order_relaxed))
        scope_.note_busy(slot_, busy);
    scope_.current_.store(outer_, std::memory_order_release);
}

void TaskScope::note_busy(const TaskSlot& slot, Duration::rep busy) noexcept
{
    longest_busy_.store(busy, std::memory_order_relaxed);
    std::lock_guard lock{mutex_};
    try {
        if (!slot.name.empty())
            longest_busy_task_ = slot.name;
    } catch (const std::bad_alloc&) { // the time is known all the same
    }
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
    slot->waiting("its first turn", timers_.now());
    return *slot;
}

asio::any_io_executor TaskScope::executor(TaskSlot& slot)
{
    return LoopTaskExecutor{io_.get_executor(), slot};
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
    ++running_count_;
    try {
        asio::co_spawn(executor(slot), std::move(task),
                       asio::bind_cancellation_slot(slot.cancellation.slot(),
                                                    [this, &slot, done = std::move(completion)](
                                                        std::exception_ptr exception) {
                                                        // Also where `done` throws: the stop waits for the end of each task.
                                                        const Finish end{*this, slot};
                                                        if (done)
                                                            done(std::move(exception));
                                                    }));
    } catch (...) { // no memory, so it never began
        --running_count_;
        throw;
    }
}

void TaskScope::abandon(TaskSlot& slot)
{
    std::lock_guard lock{mutex_};
    slot.in_use = false;
    free_.push_back(&slot);
}

void TaskScope::finish(TaskSlot& slot)
{
    abandon(slot);
    --running_count_;
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
    if (current_.load(std::memory_order_acquire) == &slot) {
        report.waiting_for = "running: it holds the loop's thread";
        report.since = ago(current_since_.load(std::memory_order_relaxed), real_ticks());
    } else {
        if (const auto* what = slot.waiting_for.load(std::memory_order_relaxed))
            report.waiting_for = what;
        report.since = ago(slot.since.load(std::memory_order_relaxed),
                           timers_.now().time_since_epoch().count());
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

std::string TaskScope::longest_busy_task() const
{
    std::lock_guard lock{mutex_};
    return longest_busy_task_;
}

} // namespace sidecar::detail
