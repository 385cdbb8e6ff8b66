#include "loop/tasks.hpp"

#include "base/real_time.hpp"
#include "loop/event_loop.hpp"
#include "loop/lookup.hpp"
#include "loop/phase_tracker.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>

#include <algorithm>
#include <new>
#include <utility>

namespace sidecar::detail {

#if defined(BOOST_ASIO_NO_TYPEID)
void the_library_must_be_compiled_with_fno_rtti_like_this_file() noexcept {}
#else
void the_library_must_be_compiled_with_rtti_like_this_file() noexcept {}
#endif

namespace {

namespace asio = boost::asio;

Duration::rep real_ticks() noexcept { return real_now().time_since_epoch().count(); }

/// Wraps the loop's executor: TaskScope::Running lives while a function of the task runs. At most
/// three words, so that any_io_executor stores it without an allocation.
template <class Inner>
class TaskExecutor {
public:
    TaskExecutor(Inner inner, TaskSlot& slot) noexcept : inner_{std::move(inner)}, slot_{&slot} {}

    template <class F>
    void execute(F&& function) const
    {
        auto& loop = slot_->loop; // the function may destroy this executor
        inner_.execute([slot = slot_, f = std::decay_t<F>(std::forward<F>(function))]() mutable {
            const TaskScope::Running running{*slot};
            std::move(f)();
        });
        loop.touch();
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

// --- a task's view of the loop

asio::any_io_executor TaskSlot::executor()
{
    return LoopTaskExecutor{loop.io().get_executor(), *this};
}

TimePoint TaskSlot::now() const { return loop.now(); }

std::optional<MockClock> TaskSlot::mock_clock() const
{
    const auto& time = loop.settings().time;
    return time ? std::optional{MockClock{time}} : std::nullopt;
}

Task<> TaskSlot::sleep_until(TimePoint when)
{
    waiting_for("a point in time");
    LoopEvent never;
    while (co_await wait(never, when)) {
    }
}

Task<bool> TaskSlot::wait(LoopEvent& event, TimePoint deadline)
{
    bool is_late = false;
    const auto timer = loop.timers().at(deadline, [&] {
        is_late = true;
        event.set();
    });
    co_await event.wait();
    co_return !is_late;
}

Task<std::vector<asio::ip::address>> TaskSlot::resolve(std::string host)
{
    return look_up(loop, std::move(host));
}

void TaskSlot::phase(Phase phase, std::string_view detail)
{
    if (link)
        link->set_phase(phase, detail);
    waiting_for(to_string(phase).data());
}

void TaskSlot::negotiated(std::string_view protocol)
{
    if (link)
        link->set_protocol(protocol);
}

void TaskSlot::tried(std::string_view address, std::string_view outcome, Duration elapsed)
{
    if (link)
        link->record_tried(address, outcome, elapsed);
}

void TaskSlot::waiting_for(const char* what)
{
    waits_for.store(what, std::memory_order_relaxed);
    since.store(now().time_since_epoch().count(), std::memory_order_relaxed);
}

void TaskSlot::log(LogLevel level, std::string_view text) { loop.journal().log(level, text); }

// --- all tasks

TaskScope::Running::Running(TaskSlot& slot) noexcept
    : scope_{slot.loop.tasks()},
      slot_{slot},
      outer_{scope_.current_.load(std::memory_order_relaxed)},
      began_{real_ticks()}
{
    ++scope_.iteration_;
    scope_.current_since_.store(began_, std::memory_order_relaxed);
    scope_.current_.store(&slot, std::memory_order_release);
}

TaskScope::Running::~Running()
{
    // On virtual time a handler takes no time
    const auto busy = slot_.loop.is_virtual() ? 0 : real_ticks() - began_;
    if (busy > scope_.longest_busy_.load(std::memory_order_relaxed))
        scope_.record_busy(slot_, busy);
    scope_.current_.store(outer_, std::memory_order_release);
}

void TaskScope::record_busy(const TaskSlot& slot, Duration::rep busy) noexcept
{
    longest_busy_.store(busy, std::memory_order_relaxed);
    std::lock_guard lock{mutex_};
    try {
        if (!slot.name.empty())
            longest_busy_task_ = slot.name;
    } catch (const std::bad_alloc&) { // the time is recorded without the name
    }
}

TaskScope::TaskScope(EventLoop& loop) : loop_{loop}, signals_{loop.io(), [this] { emit_signals(); }}
{
}

TaskSlot& TaskScope::open(std::string name, PhaseTracker* link)
{
    std::lock_guard lock{mutex_};
    TaskSlot* slot = nullptr;
    if (free_.empty()) {
        slot = &slots_.emplace_back(loop_);
        free_.reserve(slots_.size()); // so that release() cannot fail
    } else {
        slot = free_.back();
        free_.pop_back();
    }
    slot->name = std::move(name);
    slot->link = link;
    slot->in_use = true;
    slot->was_cancelled = slot->wants_signal = false;
    slot->is_expected_to_end = false;
    slot->waiting_for("its first turn");
    return *slot;
}

void TaskScope::release(TaskSlot& slot)
{
    --running_count_;
    std::lock_guard lock{mutex_};
    slot.in_use = false;
    free_.push_back(&slot);
}

/// Its destructor counts the task as ended.
struct TaskScope::Finish {
    TaskScope& scope;
    TaskSlot& slot;
    ~Finish()
    {
        scope.release(slot);
        if (scope.on_end)
            scope.on_end();
    }
};

void TaskScope::spawn(std::string name, PhaseTracker* link, const Factory& make,
                      Completion completion)
{
    auto& slot = open(std::move(name), link);
    ++running_count_;
    try {
        auto task = make(slot);
        auto ended = [this, &slot, done = std::move(completion)](std::exception_ptr exception) {
            const Finish end{*this, slot}; // also if `done` throws: the stop waits for each end
            if (done)
                done(std::move(exception));
        };
        asio::co_spawn(slot.executor(), std::move(task),
                       asio::bind_cancellation_slot(slot.cancellation.slot(), std::move(ended)));
    } catch (...) { // it never began
        release(slot);
        throw;
    }
}

void TaskScope::cancel(TaskSlot& slot) noexcept
{
    slot.was_cancelled = slot.wants_signal = true;
    signals_.schedule();
}

void TaskScope::emit_signals()
{
    for (std::size_t i = 0; i < slots_.size(); ++i) { // slots may be added meanwhile
        auto& slot = slots_[i];
        try {
            if (std::exchange(slot.wants_signal, false))
                slot.cancellation.emit(asio::cancellation_type::terminal);
        } catch (const std::bad_alloc&) { // tries again later: perhaps there is memory then
            cancel(slot);
        }
    }
}

std::vector<TaskReport> TaskScope::cancel_all()
{
    std::vector<TaskReport> reports;
    std::lock_guard lock{mutex_};
    for (auto& slot : slots_) {
        if (!slot.in_use || slot.was_cancelled)
            continue;
        cancel(slot);
        try {
            if (!slot.is_expected_to_end)
                reports.push_back(describe(slot));
        } catch (const std::bad_alloc&) { // cancelled, but not reported
        }
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
        if (const auto* what = slot.waits_for.load(std::memory_order_relaxed))
            report.waiting_for = what;
        report.since =
            ago(slot.since.load(std::memory_order_relaxed), loop_.now().time_since_epoch().count());
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
