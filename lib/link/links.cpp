#include "link/links.hpp"

#include "queue/overflow.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace sidecar::detail {
namespace {

bool is_default(const LinkOptions& options) noexcept
{
    static const LinkOptions defaults;
    // Names every field, so that a new one does not compile before it is compared here
    const auto& [outbox, reconnect, on_connected, on_connected_timeout, subscriptions, ack_timeout,
                 overflow, ping_interval, ping_timeout, idle_timeout, on_idle, heartbeat,
                 rate_limit] = options;
    return outbox.bytes == 0 && outbox.messages == 0 && !reconnect && !on_connected
           && !ping_interval && !ping_timeout && !heartbeat && !rate_limit && subscriptions.empty()
           && is_plain(overflow) && on_connected_timeout == defaults.on_connected_timeout
           && ack_timeout == defaults.ack_timeout && idle_timeout == defaults.idle_timeout
           && on_idle == defaults.on_idle;
}

/// Shares one copy of the defaults, which saves half a KiB for each of thousands of links.
std::shared_ptr<const LinkOptions> shared(LinkOptions options)
{
    static const auto defaults = std::make_shared<const LinkOptions>();
    return is_default(options) ? defaults : std::make_shared<const LinkOptions>(std::move(options));
}

} // namespace

std::shared_ptr<LinkImpl> Links::add(std::shared_ptr<const LinkConfig> config, LinkOptions options,
                                     TimePoint deadline, std::shared_ptr<Clients> of)
{
    config = shared_config(std::move(config));
    auto endpoint = config->endpoint(); // user code, so not under the lock
    const bool of_client = of != nullptr;
    std::shared_ptr<Clients> clients;
    if (config->client_settings()) {
        clients = std::make_shared<Clients>(services_, *this, config,
                                            shared(std::exchange(options, LinkOptions{})));
        options.ping_interval = Duration{}; // a listener has no peer
    }
    auto subscriptions = std::exchange(options.subscriptions, {});
    auto shared_options = of ? of->options() : shared(std::move(options));
    std::shared_ptr<LinkImpl> link;
    {
        std::lock_guard lock{mutex_};
        const auto id = static_cast<LinkId>(next_id_++);
        link = std::make_shared<LinkImpl>(services_, *this,
                                          LinkSettings{.id = id,
                                                       .config = std::move(config),
                                                       .endpoint = std::move(endpoint),
                                                       .options = std::move(shared_options),
                                                       .clients = clients,
                                                       .of = std::move(of)});
        for (auto& one : subscriptions) {
            auto key = std::move(one.key);
            (void)link->subscriptions().add(std::move(key),
                                            SubscriptionMessage::of(std::move(one)));
        }
        links_.emplace(id, link);
        if (clients)
            listeners_.push_back(std::move(clients));
    }
    LinkImpl* none = nullptr;
    first_.compare_exchange_strong(none, link.get(), std::memory_order_acq_rel);
    try {
        services_.loop.post([this, link, deadline] { begin(*link, deadline); });
    } catch (...) { // out of memory: it never begins
        if (of_client)
            remove(link->id());
        throw;
    }
    return link;
}

/// Returns the configuration of the link before if its options are equal: many links of one peer
/// need no copy each.
std::shared_ptr<const LinkConfig> Links::shared_config(std::shared_ptr<const LinkConfig> config)
{
    std::shared_ptr<const LinkConfig> latest; // its destructor is user code too: without the lock
    std::unique_lock lock{mutex_};
    latest = latest_.lock();
    lock.unlock(); // is_same() is user code
    if (latest && latest->is_same(*config))
        return latest;
    lock.lock();
    latest_ = config;
    return config;
}

void Links::begin(LinkImpl& link, TimePoint deadline)
{
    if (refuses_new_) {
        link.quiesce();
        return;
    }
    if (live_count_++ == 0) {
        services_.inbox.set_has_link(true);
        services_.inbox.set_terminal_failure(std::nullopt);
        if (first_end_) // it is no longer the end of all, so it becomes an event
            services_.inbox.push_event({.kind = Event::Kind::retry,
                                        .link = LinkId{},
                                        .failure = first_end_->with_retry(true)});
        first_end_.reset();
    }
    link.begin(deadline);
}

bool Links::link_goes_down() noexcept
{
    services_.inbox.set_has_link(live_count_ > 1);
    return live_count_ > 1;
}

void Links::link_went_down(const Failure& why)
{
    if (--live_count_ != 0)
        return;
    if (first()->link_state().connection() == 0 && why.link() == LinkId{})
        first_end_ = why;
    services_.inbox.set_terminal_failure(why);
}

/// Removes it in a later iteration: a task of the link is still ending.
void Links::link_ended(const LinkImpl& link)
{
    if (&link != first())
        services_.loop.post([this, id = link.id()] { remove(id); });
}

void Links::remove(LinkId id)
{
    std::shared_ptr<LinkImpl> removed; // freed outside the lock: its config is user code
    std::lock_guard lock{mutex_};
    const auto found = links_.find(id);
    if (found == links_.end())
        return;
    removed = std::move(found->second);
    links_.erase(found);
    std::erase_if(listeners_, [&](const auto& one) { return one.get() == removed->clients(); });
    add(ended_, *removed);
    removed->keep_alive().add_round_trips(ended_round_trips_);
}

std::vector<std::shared_ptr<LinkImpl>> Links::all() const
{
    std::lock_guard lock{mutex_};
    std::vector<std::shared_ptr<LinkImpl>> all;
    all.reserve(links_.size());
    for (const auto& [id, link] : links_)
        all.push_back(link);
    return all;
}

std::shared_ptr<LinkImpl> Links::find(LinkId id) const
{
    std::lock_guard lock{mutex_};
    const auto found = links_.find(id);
    return found == links_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Clients>> Links::listeners() const
{
    std::lock_guard lock{mutex_};
    return listeners_;
}

void Links::destroy_transports() noexcept
{
    // Without the lock: their destructors are user code, which may ask about the sidecar.
    try {
        for (const auto& link : all())
            link->destroy_transport();
    } catch (const std::bad_alloc&) { // they are destroyed with their links then
    }
}

void Links::release_senders()
{
    std::lock_guard lock{mutex_};
    for (const auto& [id, link] : links_)
        link->release_senders();
}

void Links::wake_writers()
{
    std::shared_ptr<LinkImpl> link;
    const auto next = [&] {
        std::lock_guard lock{mutex_};
        const auto at = link ? links_.upper_bound(link->id()) : links_.begin();
        return at == links_.end() ? nullptr : at->second;
    };
    while ((link = next())) // without the lock and without memory: a writer may begin to write
        link->wake_writer();
}

std::uint64_t Links::unsent_messages() const
{
    std::lock_guard lock{mutex_};
    auto count = ended_.unsent;
    for (const auto& [id, link] : links_)
        count += link->outbox().counts().unsent();
    return count;
}

bool Links::has_link_up() const
{
    std::lock_guard lock{mutex_};
    return std::any_of(links_.begin(), links_.end(),
                       [](const auto& entry) { return entry.second->is_up(); });
}

bool Links::is_connecting() const
{
    std::lock_guard lock{mutex_};
    return std::any_of(links_.begin(), links_.end(),
                       [](const auto& entry) { return !entry.second->outcome().is_known(); });
}

void Links::add(Stats& stats, LinkImpl& link)
{
    const auto outbox = link.outbox().counts();
    stats.messages_accepted += outbox.accepted;
    stats.outbox_peak_messages = std::max(stats.outbox_peak_messages, outbox.peak_messages);
    stats.outbox_peak_bytes = std::max(stats.outbox_peak_bytes, outbox.peak_bytes);
    const auto& counters = link.counters();
    const auto pauses = link.sink().pauses();
    stats.messages_sent += outbox.sent;
    stats.bytes_sent += outbox.sent_bytes;
    stats.reads += counters.reads.load();
    stats.writes += link.writer().writes();
    stats.reading_pauses += pauses.count;
    stats.reading_paused += pauses.total;
    stats.loop_wakeups += link.writer().wakeups();
    stats.unsent +=
        link.link_state().state() >= LinkState::State::down ? outbox.unsent() : outbox.lost;
    stats.unsent_late += outbox.late;
    stats.unsent_dropped += outbox.dropped;
    stats.unsent_conflated += outbox.conflated;
    if (link.clients())
        link.clients()->add_to(stats);
    const auto connections = link.link_state().connection();
    stats.connections += connections;
    stats.failed_attempts += counters.failed_attempts.load();
    stats.reconnects += connections - (connections != 0 ? 1 : 0);
    stats.pings += link.keep_alive().pings();
    stats.unresponsive += link.keep_alive().drops();
    const auto waits = link.writer().waits();
    stats.rate_limit_waits += waits.count;
    stats.rate_limited += waits.total;
}

/// Adds the gauges, which an ended link no longer has.
void Links::add_present(Stats& stats, LinkImpl& link)
{
    const auto outbox = link.outbox().counts();
    if (link.clients())
        stats.clients += link.clients()->count();
    stats.outbox_messages += outbox.queued;
    stats.outbox_bytes += outbox.queued_bytes;
    if (const auto age = link.keep_alive().data_age())
        stats.data_age = std::max(stats.data_age.value_or(Duration{}), *age);
}

Stats Links::stats_of(LinkImpl& link)
{
    Stats stats;
    add(stats, link);
    add_present(stats, link);
    LatencyHistogram round_trips;
    link.keep_alive().add_round_trips(round_trips);
    stats.round_trips = round_trips.latency();
    stats.connect_time = Duration{link.counters().connect_time.load()};
    stats.last_connect = link.note().trace();
    return stats;
}

Stats Links::stats() const
{
    std::lock_guard lock{mutex_};
    auto stats = ended_;
    LatencyHistogram round_trips;
    round_trips.add(ended_round_trips_);
    for (const auto& [id, link] : links_) {
        add(stats, *link);
        add_present(stats, *link);
        link->keep_alive().add_round_trips(round_trips);
    }
    stats.round_trips = round_trips.latency();
    if (auto* link = first()) {
        stats.connect_time = Duration{link->counters().connect_time.load()};
        stats.last_connect = link->note().trace();
    }
    return stats;
}

std::vector<std::string> Links::describe(std::size_t limit, std::size_t& more) const
{
    std::lock_guard lock{mutex_};
    std::vector<std::string> lines;
    for (const auto& [id, link] : links_) {
        if (lines.size() == limit)
            break;
        lines.push_back(link->describe());
    }
    more = links_.size() - lines.size();
    return lines;
}

} // namespace sidecar::detail
