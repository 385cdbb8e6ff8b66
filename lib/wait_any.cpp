// One wait for several feeds.
#include <sidecar/wait_any.hpp>

#include "base/many_points.hpp"
#include "base/misuse.hpp"
#include "base/real_time.hpp"
#include "run.hpp"
#include "runs.hpp"

#include <sidecar/feed.hpp>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace sidecar {
namespace detail {
namespace {

bool has_something(const Run* run) noexcept
{
    return !run || run->has_start_failed() || run->inbox().has_something();
}

/// One feed's run, while a thread waits for it and others.
struct Place {
    Place(const Runs& runs, std::size_t its_index) : index{its_index}, lease{runs} {}

    const std::size_t index; // of its feed
    const Runs::Lease lease;
    [[nodiscard]] Run* run() const noexcept { return lease.get(); }
    [[nodiscard]] WaitPoint& point() const noexcept { return run()->inbox().arrived(); }
};

using Places = std::deque<Place>;

/// A wait on one virtual clock, which several feeds may share. A wake-up at any of the places ends the
/// ticket: time is not to pass while the thread that waits has something to do.
class VirtualWait {
public:
    /// Lifetime: `places`, and the run, whose clock it is, outlive it.
    VirtualWait(const Places& places, Run& run, Duration timeout)
        : places_{places}, run_{run}, deadline_{deadline_after(run.now(), timeout)}
    {
    }
    VirtualWait(VirtualWait&& other) noexcept
        : places_{other.places_},
          run_{other.run_},
          deadline_{other.deadline_},
          ticket_{std::exchange(other.ticket_, nullptr)},
          is_over_{other.is_over_}
    {
    }
    VirtualWait& operator=(VirtualWait&&) = delete;
    ~VirtualWait() { give_up(); }

    /// Somebody may have been woken. After that, and before its time goes on, comes a look at what
    /// there is.
    void note_end()
    {
        if (!ticket_ || !ticket_->has_ended())
            return;
        is_over_ = ticket_->has_expired();
        give_up();
    }
    /// Its time may pass, from here on until somebody is woken.
    void go_on()
    {
        if (ticket_ || is_over_)
            return;
        ticket_ = std::make_shared<Ticket>(run_.inbox().arrived(), run_.loop(), deadline_);
        for (const auto& place : places_)
            if (place.run())
                place.point().add_ticket(ticket_);
        run_.loop().arm(ticket_);
    }
    [[nodiscard]] bool is_over() const noexcept { return is_over_; }
    [[nodiscard]] bool is_on_clock_of(Run& run) const noexcept
    {
        return &run_.loop().host() == &run.loop().host();
    }

private:
    void give_up()
    {
        if (!ticket_)
            return;
        ticket_->end();
        for (const auto& place : places_)
            if (place.run())
                place.point().remove_ticket(ticket_);
        ticket_.reset();
    }

    const Places& places_;
    Run& run_;
    const TimePoint deadline_; // on its clock
    std::shared_ptr<Ticket> ticket_;
    bool is_over_ = false;
};

/// The wait of one thread. Those that have something are looked for in the order of the places.
class Wait {
public:
    /// Lifetime: `places` outlives it.
    Wait(const Places& places, Duration timeout) : places_{places}
    {
        const auto deadline = deadline_after(real_now(), timeout);
        // A loop that hangs is noticed on virtual time too.
        give_up_ = std::max(deadline, deadline_after(real_now(), std::chrono::seconds{1}));
        for (const auto& place : places) {
            if (!place.run() || !place.run()->is_virtual())
                real_deadline_ = deadline;
            else if (std::none_of(virtual_.begin(), virtual_.end(), [&](const auto& each) {
                         return each.is_on_clock_of(*place.run());
                     }))
                virtual_.emplace_back(places, *place.run(), timeout);
        }
    }

    /// Empty: the time has passed.
    [[nodiscard]] std::optional<std::size_t> run()
    {
        auto idle = deadline_after(real_now(), Inbox::idle_time);
        for (;;) {
            const auto ticket = ManyPoints::word().ticket();
            announce();
            for (auto& each : virtual_)
                each.note_end();
            auto found = look();
            if (!found && !virtual_.empty()) {
                for (auto& each : virtual_)
                    each.go_on();
                found = look();
            }
            if (found)
                return found;
            const auto now = real_now();
            if (is_over(now))
                return std::nullopt;
            if (now >= idle) {
                note_nothing_came();
                idle = TimePoint::max();
            }
            ManyPoints::word().wait(ticket, std::min(wake_at(now), idle), ManyPoints::bit());
        }
    }

private:
    void announce()
    {
        for (const auto& place : places_)
            if (place.run())
                place.point().announce(ManyPoints::bit());
    }
    [[nodiscard]] std::optional<std::size_t> look() const
    {
        for (const auto& place : places_)
            if (has_something(place.run()))
                return place.index;
        return std::nullopt;
    }
    [[nodiscard]] bool is_over(TimePoint now) const
    {
        return now >= give_up_
               || (now >= real_deadline_
                   && std::all_of(virtual_.begin(), virtual_.end(),
                                  [](const auto& each) { return each.is_over(); }));
    }
    void note_nothing_came()
    {
        for (const auto& place : places_)
            if (place.run())
                place.run()->inbox().note_nothing_came();
    }
    [[nodiscard]] TimePoint wake_at(TimePoint now) const
    {
        if (virtual_.empty())
            return real_deadline_;
        // What a signal handler does ends no ticket.
        return std::min(now < real_deadline_ ? real_deadline_ : TimePoint::max(),
                        deadline_after(now, std::chrono::milliseconds{20}));
    }

    const Places& places_;
    TimePoint real_deadline_ = TimePoint::min(); // of those on real time; none: has passed
    TimePoint give_up_{};                        // on the real clock
    std::vector<VirtualWait> virtual_;
};

} // namespace

Result<std::size_t> Core::wait_any(std::span<Feed* const> feeds, Duration timeout,
                                   std::size_t first)
{
    Places places;
    bool is_any = false;
    std::optional<std::size_t> found;
    for (std::size_t i = 0; i < feeds.size(); ++i) {
        const auto index = (first % feeds.size() + i) % feeds.size();
        if (!feeds[index])
            continue;
        const auto& core = feeds[index]->core_;
        is_any = true;
        if (core.is_forked())
            return Failure{
                Error::forked,
                {.attempted = "wait for several feeds", .endpoint = core.config_->endpoint()}};
        const Runs::Lease lease{*core.runs_};
        if (lease.get() && lease.get()->is_loop_thread())
            return called_on_loop("wait for several feeds", core.config_->endpoint());
        if (!found && has_something(lease.get()))
            found = index;
        if (!found && timeout > Duration{})
            places.emplace_back(*core.runs_, index);
    }
    if (!is_any)
        return Failure{Error::misuse,
                       {.attempted = "wait for several feeds", .explanation = "there is none"}};
    if (!found && timeout > Duration{})
        found = Wait{places, timeout}.run();
    return found ? Result<std::size_t>{*found} : Result<std::size_t>{Failure{Error::timed_out}};
}

} // namespace detail

Result<std::size_t> wait_any(std::span<Feed* const> feeds, Duration timeout, std::size_t first)
{
    return detail::Core::wait_any(feeds, timeout, first);
}

} // namespace sidecar
