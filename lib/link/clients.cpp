#include "link/clients.hpp"

#include "base/failures.hpp"
#include "link/link.hpp"
#include "link/links.hpp"
#include "queue/memory_budget.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace sidecar::detail {

Clients::Clients(LinkServices& services, Links& links, std::shared_ptr<const LinkConfig> listener,
                 std::shared_ptr<const LinkOptions> options)
    : services_{services},
      links_{links},
      listener_{std::move(listener)},
      options_{std::move(options)}
{
}

// --- broadcasts

std::optional<std::string> Clients::key_of(const SharedMessage& message) const
{
    const auto& key_function = settings().overflow.key;
    if (!key_function)
        return std::nullopt;
    const auto key = key_function(message.view());
    return key ? std::optional<std::string>{*key} : std::nullopt;
}

std::size_t Clients::broadcast(const std::shared_ptr<SharedMessage>& message,
                               const BroadcastOptions& options)
{
    const auto key = key_of(*message);
    if (options.to) { // code of the application, so without the lock
        std::vector<std::shared_ptr<LinkImpl>> chosen;
        {
            std::lock_guard lock{mutex_};
            for (auto* link : targets_of(options.group))
                chosen.push_back(link->shared_from_this());
        }
        std::erase_if(chosen, [&](const auto& link) { return !options.to(link->id()); });
        Targets targets;
        for (const auto& link : chosen)
            targets.push_back(link.get());
        std::lock_guard lock{mutex_};
        std::erase_if(targets, [&](const auto* link) { return !places_.contains(link); });
        return push(targets, message, key);
    }
    std::lock_guard lock{mutex_};
    if (!options.retain_as.empty())
        keep(std::string{options.retain_as}, message, key);
    return push(targets_of(options.group), message, key);
}

/// With mutex_ held. Empty `group`: all.
const Clients::Targets& Clients::targets_of(std::string_view group) const
{
    static const Targets none;
    if (group.empty())
        return members_;
    const auto found = groups_.find(group);
    return found == groups_.end() ? none : found->second;
}

/// With mutex_ held.
std::size_t Clients::push(const Targets& targets, const std::shared_ptr<SharedMessage>& message,
                          std::optional<std::string_view> key)
{
    std::size_t count = 0;
    try {
        for (auto* link : targets) {
            const auto pushed = link->outbox().push_broadcast(message, key);
            count += pushed == Outbox::Broadcast::queued ? 1 : 0;
            if (pushed == Outbox::Broadcast::too_slow)
                too_slow_.push_back(link);
            if (link->outbox().wakes_writer())
                to_wake_.push_back(link);
        }
    } catch (...) { // out of memory: what is queued must be written nevertheless
        services_.wake_all_writers();
        throw;
    }
    wake_soon();
    return count;
}

/// With mutex_ held.
void Clients::wake_soon() noexcept
{
    if ((to_wake_.empty() && too_slow_.empty()) || is_waking_)
        return;
    try {
        services_.loop.post([self = shared_from_this()] { self->run_wakes(); });
        is_waking_ = true;
    } catch (...) { // out of memory
        services_.wake_all_writers();
    }
}

void Clients::run_wakes()
{
    Targets to_wake, too_slow;
    {
        std::lock_guard lock{mutex_};
        to_wake.swap(to_wake_);
        too_slow.swap(too_slow_);
        is_waking_ = false;
    }
    // Links go only in later iterations of the loop, so these are still there
    for (auto* link : to_wake)
        link->wake_writer();
    for (auto* link : too_slow)
        if (link->end_slow())
            slow_.fetch_add(1);
}

void Clients::end_slow(LinkImpl& link)
{
    std::lock_guard lock{mutex_};
    if (!places_.contains(&link))
        return;
    too_slow_.push_back(&link);
    wake_soon();
}

void Clients::retain(std::string key, const std::shared_ptr<SharedMessage>& message)
{
    auto conflation_key = key_of(*message);
    std::lock_guard lock{mutex_};
    keep(std::move(key), message, std::move(conflation_key));
}

/// With mutex_ held.
void Clients::keep(std::string key, std::shared_ptr<SharedMessage> message,
                   std::optional<std::string> conflation_key)
{
    const auto at = std::find_if(retained_.begin(), retained_.end(),
                                 [&](const auto& kept) { return kept.key == key; });
    Retained kept{std::move(key), std::move(message), std::move(conflation_key)};
    if (at != retained_.end())
        std::swap(*at, kept);
    else
        retained_.push_back(std::move(kept));
}

bool Clients::forget(std::string_view key)
{
    std::lock_guard lock{mutex_};
    return std::erase_if(retained_, [&](const auto& kept) { return kept.key == key; }) != 0;
}

// --- groups

bool Clients::join(LinkImpl& link, std::string group)
{
    std::lock_guard lock{mutex_};
    const auto found = places_.find(&link);
    if (found == places_.end())
        return false;
    auto& groups = found->second.groups;
    if (std::find(groups.begin(), groups.end(), group) != groups.end())
        return true;
    groups.push_back(group);
    try {
        groups_[group].push_back(&link);
    } catch (...) {
        groups.pop_back();
        if (const auto at = groups_.find(group); at != groups_.end() && at->second.empty())
            groups_.erase(at);
        throw;
    }
    return true;
}

bool Clients::leave(LinkImpl& link, std::string_view group)
{
    std::lock_guard lock{mutex_};
    const auto found = places_.find(&link);
    if (found == places_.end() || std::erase(found->second.groups, group) == 0)
        return false;
    leave_group(link, std::string{group});
    return true;
}

/// With mutex_ held.
void Clients::leave_group(LinkImpl& link, const std::string& group)
{
    const auto at = groups_.find(group);
    std::erase(at->second, &link);
    if (at->second.empty())
        groups_.erase(at);
}

// --- coming and going

void Clients::admit(std::shared_ptr<const LinkConfig> config)
{
    const auto deadline = deadline_after(services_.loop.now(), settings().handshake_timeout);
    try {
        (void)links_.add(std::move(config), {}, deadline, shared_from_this());
    } catch (...) { // no memory for this one; the listener goes on
        refused_.fetch_add(1);
    }
}

void Clients::add(LinkImpl& link)
{
    std::lock_guard lock{mutex_};
    for (const auto& kept : retained_)
        (void)link.outbox().push_broadcast(kept.message, kept.conflation_key);
    members_.push_back(&link);
    try {
        places_.try_emplace(&link, Member{.place = members_.size() - 1});
    } catch (...) {
        members_.pop_back();
        throw;
    }
    accepted_.fetch_add(1);
}

void Clients::remove(LinkImpl& link)
{
    std::lock_guard lock{mutex_};
    const auto found = places_.find(&link);
    if (found == places_.end())
        return;
    for (const auto& group : found->second.groups)
        leave_group(link, group);
    const auto place = found->second.place;
    members_[place] = members_.back();
    places_.find(members_[place])->second.place = place;
    members_.pop_back();
    places_.erase(found);
    std::erase(to_wake_, &link);
    std::erase(too_slow_, &link);
}

void Clients::count_refused(const Failure& why)
{
    const bool was_served = why == Error::link_closed;
    (was_served ? served_ : refused_).fetch_add(1);
    if (!was_served)
        services_.journal.log(LogLevel::info,
                              fmt::format("a client was refused: {}", why.message()));
}

Result<void> Clients::close(TimePoint deadline, const CloseReason& reason)
{
    if (services_.loop.is_loop_thread())
        return called_on_loop("close", listener_->endpoint());
    const auto now = services_.loop.now();
    auto links = links_.all(); // those whose opening is under way too
    std::erase_if(links, [this](const auto& link) { return link->client_of() != this; });
    for (const auto& link : links)
        link->request_close(now + (deadline - now) / 2, deadline, reason);
    // The loop cuts them at the deadline; 20 ms more let it do so
    const auto patience = deadline_after(deadline, std::chrono::milliseconds{20});
    const auto are_down = [&links] {
        return std::all_of(links.begin(), links.end(), [](const auto& link) {
            return link->link_state().state() >= LinkState::State::down;
        });
    };
    (void)services_.progressed.wait_until(services_.loop, patience,
                                          [&] { return are_down() || services_.stop.is_made(); });
    if (are_down())
        return {};
    return Failure{services_.stop.is_made() ? services_.stop.refusal() : Error::timed_out,
                   {.attempted = "close", .endpoint = listener_->endpoint()}};
}

QueueLimits Clients::outbox_limits() const
{
    return detail::outbox_limits(settings().outbox_or(options_->outbox), services_.outbox,
                                 listener_->max_message_bytes());
}

std::vector<std::shared_ptr<LinkImpl>> Clients::all() const
{
    std::lock_guard lock{mutex_};
    std::vector<std::shared_ptr<LinkImpl>> all;
    all.reserve(members_.size());
    for (auto* link : members_)
        all.push_back(link->shared_from_this());
    return all;
}

std::size_t Clients::count() const
{
    std::lock_guard lock{mutex_};
    return members_.size();
}

void Clients::add_to(Stats& stats) const
{
    stats.clients_accepted += accepted_.load();
    stats.clients_refused += refused_.load();
    stats.clients_served += served_.load();
    stats.clients_too_slow += slow_.load();
}

} // namespace sidecar::detail
