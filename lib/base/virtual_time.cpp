#include "base/virtual_time.hpp"

#include "base/real_time.hpp"
#include "base/text.hpp"

#include <sidecar/detail/random.hpp>
#include <sidecar/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

namespace sidecar::detail {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t handlers_in_a_turn = 64;
/// After so many turns of loops at one moment the waiting threads need not wait until all is quiet.
constexpr std::size_t max_busy_turns = 1000;
/// After so many the loops will not let time pass at all.
constexpr std::size_t max_turns_at_once = 5'000;
constexpr auto look_interval = 5ms; // how soon effects from outside are seen
/// How long a loop may hold its turn while the condition of a waiting thread may hold already.
constexpr Duration patience_when_woken = 500ms;
/// How long nothing may happen at all while no thread has a deadline.
constexpr Duration patience_when_stalled = 10s;
/// The same in a process with no other thread: only a signal could act.
constexpr Duration patience_when_alone = 3s;
constexpr auto frozen_interval = 100ms;
constexpr int max_frozen = 10; // intervals

/// The present thread, and the clock whose turns it takes.
struct Here {
    const VirtualTime* clock = nullptr;
    VirtualTime::Member* member = nullptr;
    bool is_loop = false;
    int entered = 0;
};
thread_local Here here;
thread_local VirtualTime::Member application_thread;
thread_local const char* why_never_here = nullptr; // of the latest wait
thread_local Duration limit_here{};

constexpr auto beyond_limit = "virtual time would pass its limit";
constexpr auto nothing_happens = "no timer runs, and no other thread acts: nothing can happen";
constexpr auto never_quiet = "a loop runs one handler after the other, and no time passes";

/// Returns how many threads this process has.
std::size_t thread_count() noexcept
{
    std::error_code none;
    std::size_t count = 0;
    for (std::filesystem::directory_iterator at{"/proc/self/task", none}, end; !none && at != end;
         at.increment(none))
        ++count;
    return count;
}

} // namespace

/// How long a thread waits in real time while another one does not end its turn.
class VirtualTime::Patience {
public:
    Patience(Duration timeout, TimePoint give_up) noexcept
        : limit_{std::max<Duration>(timeout, 1s)}, give_up_{give_up}
    {
    }
    /// Call it before the questions, with the clock's count.
    void look(std::uint64_t progress) noexcept
    {
        now_ = real_now();
        if (std::exchange(progress_, progress) != progress)
            since_ = now_;
    }
    [[nodiscard]] bool has_given_up() const noexcept { return now_ >= give_up_; }
    /// Whether the one who has the turn takes too long.
    [[nodiscard]] bool is_held() const noexcept { return now_ - since_ >= limit_; }
    /// Does the same where the wait may be over.
    [[nodiscard]] bool is_held_from_woken() const noexcept
    {
        return now_ - since_ >= patience_when_woken;
    }
    [[nodiscard]] bool is_stalled(std::size_t threads_that_wait) const noexcept
    {
        const auto stalled = now_ - since_;
        return stalled >= patience_when_stalled
               || (stalled >= patience_when_alone && thread_count() <= threads_that_wait);
    }

private:
    const Duration limit_;       // app side
    const TimePoint give_up_;    // app side
    std::uint64_t progress_ = 0; // app side
    TimePoint now_ = real_now(); // app side; at the latest look
    TimePoint since_ = now_;     // app side; of the latest progress that was seen
};

VirtualTime::Member* VirtualTime::present_member() const noexcept
{
    return here.clock == this ? here.member : nullptr;
}

std::string VirtualTime::why_never()
{
    if (why_never_here == beyond_limit)
        return fmt::format("{} of {} (MockClock::Options::virtual_time)", beyond_limit,
                           readable(limit_here));
    return why_never_here ? why_never_here : std::string{};
}

bool VirtualTime::is_at_limit() const noexcept
{
    return has_failed_ && limit_ - now() < std::chrono::minutes{1};
}

// --- loops

void VirtualTime::add(Loop& loop)
{
    std::lock_guard lock{mutex_};
    loops_.push_back(&loop);
    loop.is_added = true;
}

void VirtualTime::remove(Loop& loop) noexcept
{
    std::lock_guard lock{mutex_};
    if (here.member == &loop)
        here = {};
    if (!std::exchange(loop.is_added, false))
        return;
    std::erase(loops_, &loop);
    loop.has_turn.notify_one();
    if (turn_ == &loop)
        turn_ = nullptr;
    schedule();
}

std::size_t VirtualTime::begin_turn(Loop& loop)
{
    here = {.clock = this, .member = &loop, .is_loop = true};
    Lock lock{mutex_};
    const auto is_over = [&] { return turn_ == &loop || !loop.is_added; };
    int frozen = 0;
    while (!loop.has_turn.wait_for(lock, frozen_interval, is_over)) {
        frozen = !turn_ && waiters_.empty() ? frozen + 1 : 0;
        if (frozen == max_frozen)
            give_turn(loop);
    }
    if (!loop.is_added)
        return 0;
    return interleaving_ != 0 ? 1 + random(8) : handlers_in_a_turn;
}

void VirtualTime::end_turn(Loop& loop, bool has_run, bool is_quiet, TimePoint next_timer)
{
    std::lock_guard lock{mutex_};
    loop.next_timer = next_timer;
    progress_ += has_run;
    loop.may_be_ready = !is_quiet;
    if (turn_ == &loop)
        turn_ = nullptr;
    schedule();
}

void VirtualTime::touch(Loop& loop) noexcept
{
    std::lock_guard lock{mutex_};
    loop.may_be_ready = true;
    schedule();
}

void VirtualTime::poke() noexcept
{
    std::lock_guard lock{mutex_};
    schedule();
}

// --- threads of the application

bool VirtualTime::wait(const Futex& queue, TimePoint deadline,
                       const std::function<bool()>& condition, TimePoint give_up)
{
    Waiter waiter;
    waiter.queue = &queue;
    waiter.ticket = queue.ticket();
    waiter.deadline = deadline;
    waiter.may_pass_limit = give_up != TimePoint::max();
    why_never_here = nullptr;
    Patience patience{deadline - now(), give_up};
    if (condition()) // after the ticket: no wake is missed
        return true;
    auto* const me = present_member();
    auto* const loop = me && here.is_loop ? static_cast<Loop*>(me) : nullptr;
    Lock lock{mutex_};
    waiters_.push_back(waiter);
    struct Leave { // also when the condition throws
        VirtualTime& time;
        Lock& lock;
        Waiter& waiter;
        Member* me;
        Loop* loop;
        ~Leave()
        {
            if (!lock.owns_lock())
                lock.lock();
            why_never_here = waiter.why_never;
            limit_here = time.limit_.time_since_epoch();
            time.waiters_.erase(time.waiters_.iterator_to(waiter));
            if (loop)
                loop->is_inside = false;
            if (time.turn_ == &waiter)
                time.turn_ = me;
            time.schedule();
        }
    };
    const Leave leave_at_end{*this, lock, waiter, me, loop};
    if (me && turn_ == me)
        turn_ = nullptr;
    if (loop)
        loop->is_inside = true;
    schedule();
    for (;;) {
        const bool is_over =
            wait_for_turn(waiter, lock, patience) || waiter.is_due || waiter.why_never;
        waiter.ticket = queue.ticket();
        lock.unlock();
        const bool held = condition();
        lock.lock();
        if (held || is_over)
            return held;
        if (turn_ == &waiter)
            turn_ = nullptr;
        schedule();
    }
}

/// Returns true if the wait is over whether the condition holds or not. False: it may hold.
bool VirtualTime::wait_for_turn(Waiter& waiter, Lock& lock, Patience& patience)
{
    while (!waiter.has_turn.wait_for(lock, look_interval, [&] { return turn_ == &waiter; })) {
        patience.look(progress_);
        if (patience.has_given_up() || (turn_ && patience.is_held()))
            return true;
        if (turn_ && may_run(waiter) && patience.is_held_from_woken())
            return false;
        if (turn_)
            continue;
        if (!waiter.may_pass_limit && waiter.deadline == TimePoint::max()
            && patience.is_stalled(loops_.size() + waiters_.size())) {
            waiter.why_never = nothing_happens;
            return true;
        }
        wake_loops();
        schedule();
    }
    return false;
}

bool VirtualTime::is_loop_thread() const noexcept { return here.clock == this && here.is_loop; }

void VirtualTime::settle()
{
    if (!is_loop_thread())
        (void)advance({});
}

bool VirtualTime::advance(Duration duration)
{
    static const Futex never;
    const auto until = deadline_after(now(), std::max(duration, Duration{}));
    (void)wait(never, until, [] { return false; });
    return now() >= until;
}

void VirtualTime::enter()
{
    if (here.clock && (here.clock != this || here.is_loop))
        throw Exception{Failure{
            Error::misuse,
            {.attempted = "take turns",
             .explanation = here.is_loop ? "a loop's thread cannot make a MockThread"
                                         : "this thread takes turns on another MockClock"}}};
    if (here.entered++ != 0)
        return;
    Lock lock{mutex_};
    if (turn_ || !waiters_.empty()) {
        Waiter waiter;
        waiter.is_due = true;
        waiters_.push_back(waiter);
        acquire(waiter, lock);
    }
    here.clock = this;
    here.member = &application_thread;
    turn_ = here.member;
}

void VirtualTime::leave() noexcept
{
    if (--here.entered == 0)
        end();
}

void VirtualTime::announce(Waiter& waiter)
{
    std::lock_guard lock{mutex_};
    waiter.is_due = true;
    waiters_.push_back(waiter);
}

void VirtualTime::renounce(Waiter& waiter) noexcept
{
    std::lock_guard lock{mutex_};
    waiters_.erase(waiters_.iterator_to(waiter));
}

void VirtualTime::begin(Waiter& waiter)
{
    Lock lock{mutex_};
    acquire(waiter, lock);
    here = {.clock = this, .member = &application_thread, .entered = 1};
    turn_ = here.member;
}

/// Waits for the turn of a waiter that is due.
void VirtualTime::acquire(Waiter& waiter, Lock& lock)
{
    schedule();
    while (!waiter.has_turn.wait_for(lock, look_interval, [&] { return turn_ == &waiter; }))
        schedule();
    waiters_.erase(waiters_.iterator_to(waiter));
}

void VirtualTime::end() noexcept
{
    std::lock_guard lock{mutex_};
    if (turn_ == here.member)
        turn_ = nullptr;
    here = {};
    schedule();
}

// --- whose turn is next; with the mutex held

void VirtualTime::schedule() noexcept
{
    while (!turn_ && !waiters_.empty()) {
        if (busy_turns_ >= max_turns_at_once)
            fail_waits(never_quiet);
        if (auto* const member = interleaving_ != 0 ? next_at_random() : next())
            return give_turn(*member);
        if (!pass_time())
            return;
    }
}

void VirtualTime::fail_waits(const char* why) noexcept
{
    for (auto& waiter : waiters_)
        if (!waiter.may_pass_limit && waiter.queue) // null: the beginning of a thread
            waiter.why_never = why;
}

VirtualTime::Member* VirtualTime::next() noexcept
{
    const auto waiter = std::find_if(waiters_.begin(), waiters_.end(), [this](const Waiter& each) {
        return may_run(each) || (busy_turns_ >= max_busy_turns && each.deadline <= now());
    });
    if (waiter == waiters_.end() || busy_turns_ < max_busy_turns)
        for (std::size_t i = 1; i <= loops_.size(); ++i) {
            const auto index = (last_loop_ + i) % loops_.size();
            if (is_ready(*loops_[index])) {
                last_loop_ = index;
                return loops_[index];
            }
        }
    if (waiter == waiters_.end())
        return nullptr;
    waiter->is_due = waiter->is_due || waiter->deadline <= now();
    return &*waiter;
}

VirtualTime::Member* VirtualTime::next_at_random() noexcept
{
    const auto is_ready_loop = [](Loop* loop) { return is_ready(*loop); };
    const auto is_ready_waiter = [this](const Waiter& waiter) {
        return may_run(waiter) || waiter.deadline <= now();
    };
    const auto count = std::count_if(loops_.begin(), loops_.end(), is_ready_loop)
                       + std::count_if(waiters_.begin(), waiters_.end(), is_ready_waiter);
    if (count == 0)
        return nullptr;
    auto index = random(static_cast<std::size_t>(count));
    for (auto* const loop : loops_)
        if (is_ready_loop(loop) && index-- == 0)
            return loop;
    for (auto& waiter : waiters_)
        if (is_ready_waiter(waiter) && index-- == 0) {
            waiter.is_due = waiter.is_due || waiter.deadline <= now();
            return &waiter;
        }
    return nullptr;
}

/// Lets time pass until a loop or a waiting thread can run. False: nothing will let them.
bool VirtualTime::pass_time() noexcept
{
    auto next = TimePoint::max();
    bool may_pass_limit = false;
    for (const auto* const loop : loops_)
        if (!loop->is_inside)
            next = std::min(next, loop->next_timer);
    for (const auto& waiter : waiters_) {
        next = std::min(next, waiter.deadline);
        may_pass_limit = may_pass_limit || waiter.may_pass_limit;
    }
    if (next == TimePoint::max())
        return false;
    if (next > now()) {
        if (next > limit_ && !may_pass_limit) {
            has_failed_ = true;
            fail_waits(beyond_limit);
            return true;
        }
        now_.store(next.time_since_epoch().count(), std::memory_order_release);
        busy_turns_ = 0;
        ++progress_;
    }
    for (auto* const loop : loops_)
        loop->may_be_ready = loop->may_be_ready || loop->next_timer <= next;
    for (auto& waiter : waiters_)
        waiter.is_due = waiter.is_due || waiter.deadline <= next;
    return true;
}

void VirtualTime::give_turn(Member& member) noexcept
{
    turn_ = &member;
    if (std::find(loops_.begin(), loops_.end(), &member) != loops_.end()) {
        ++busy_turns_;
    } else {
        busy_turns_ = 0;
        ++progress_;
    }
    member.has_turn.notify_one();
}

void VirtualTime::wake_loops() noexcept
{
    for (auto* const loop : loops_)
        loop->may_be_ready = true;
}

bool VirtualTime::is_ready(Loop& loop) noexcept
{
    if (loop.is_noted.exchange(false))
        loop.may_be_ready = true;
    return loop.may_be_ready && !loop.is_inside;
}

bool VirtualTime::may_run(const Waiter& waiter) const noexcept
{
    return waiter.is_due || waiter.why_never
           || (waiter.queue && waiter.queue->ticket() != waiter.ticket);
}

std::size_t VirtualTime::random(std::size_t below) noexcept
{
    return static_cast<std::size_t>(next_random(random_state_) % below);
}

} // namespace sidecar::detail
