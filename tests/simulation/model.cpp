#include "simulation/model.hpp"

#include "simulation/memory.hpp"

#include <algorithm>

namespace simulation {

using sidecar::Event, sidecar::LinkId, sidecar::MessageView;

namespace {

/// The model's notes are no memory of the library.
struct Guard {
    explicit Guard(std::recursive_mutex& mutex) : lock{mutex} {}
    std::lock_guard<std::recursive_mutex> lock;
    Uncounted uncounted;
};

} // namespace

void Model::complain_text(std::string text)
{
    const Guard guard{mutex_};
    if (complaint_.empty())
        complaint_ = std::move(text);
}

bool Model::stop_ended(const sidecar::StopReport& report)
{
    if (!report.joined) {
        complain("the thread did not end: {}", to_string(report));
        return false;
    }
    const auto total = milliseconds(world_.stop_total);
    require(report.total <= total, "the stop took {:.3f} s of {:.3f} s", seconds(report.total),
            seconds(total));
    const bool had_time = world_.stop_cancel > 0 && world_.stop_total > 0;
    require(report.stuck.empty() || !had_time, "tasks are stuck: {}", to_string(report));
    return true;
}

// --- links

void Model::begin_run(bool is_stop_requested)
{
    const Guard guard{mutex_};
    links_.clear();
    by_id_.clear();
    taken_ = 0;
    is_stop_requested_ = is_stop_requested;
    is_stopped_seen_ = false;
}

std::shared_ptr<LinkModel> Model::add(const LinkPlan& plan)
{
    const Guard guard{mutex_};
    return links_.emplace_back(std::make_shared<LinkModel>(plan, fmt::format("{}", ++link_count_)));
}

void Model::name(const std::shared_ptr<LinkModel>& link, LinkId id)
{
    const Guard guard{mutex_};
    const auto [at, is_new] = by_id_.emplace(static_cast<std::uint32_t>(id), link);
    require(is_new || at->second == link, "link {} is two links", at->first);
}

/// An event may come before open() has returned the number: it is then of the latest link.
LinkModel* Model::find(LinkId id)
{
    const auto number = static_cast<std::uint32_t>(id);
    if (const auto found = by_id_.find(number); found != by_id_.end())
        return found->second.get();
    const auto& latest = links_.back();
    for (const auto& [other, link] : by_id_)
        if (link == latest) {
            complain("an entry of link {}, which nobody opened", number);
            return nullptr;
        }
    by_id_.emplace(number, latest);
    return latest.get();
}

void Model::ends(LinkModel* link)
{
    const Guard guard{mutex_};
    is_stop_requested_ = is_stop_requested_ || !link;
    for (const auto& each : links_)
        each->is_ending = each->is_ending || !link || each.get() == link;
}

// --- the peer's side

std::size_t Model::arrives(LinkModel& link, std::string_view text, std::uint32_t connect,
                           TimePoint now)
{
    const Guard guard{mutex_};
    const bool is_in_session = link.plan.prepares != no_preparation && link.session_over != connect;
    link.arrived.push_back(
        {.text = std::string{text}, .connect = connect, .at = now, .is_in_session = is_in_session});
    return link.arrived.size() - 1;
}

void Model::not_arrived(LinkModel& link)
{
    const Guard guard{mutex_};
    require(!link.arrived.back().is_seen, "link {}: a refused message arrived", link.name);
    link.arrived.pop_back();
}

void Model::hides(LinkModel& link, std::string_view text)
{
    const Guard guard{mutex_};
    for (auto& each : link.arrived)
        if (each.text == text)
            each.is_taken = true;
}

void Model::session_takes(LinkModel& link, std::string_view text, std::uint32_t connect)
{
    const Guard guard{mutex_};
    for (auto& each : link.arrived) {
        if (each.connect != connect || each.is_taken || each.is_passed_on || each.is_seen)
            continue;
        require(each.text == text, "link {}: on_connected took \"{}\" before \"{}\"", link.name,
                text.substr(0, 20), each.text.substr(0, 20));
        each.is_taken = true;
        return;
    }
    complain("link {}: on_connected took \"{}\", which the peer did not send", link.name,
             text.substr(0, 20));
}

void Model::session_passes_on(LinkModel& link, std::string_view text, bool passes)
{
    const Guard guard{mutex_};
    const auto found =
        std::find_if(link.arrived.rbegin(), link.arrived.rend(), [&](const auto& each) {
            return each.is_taken == passes && each.text == text && !each.is_seen;
        });
    if (found == link.arrived.rend())
        return;
    found->is_taken = !passes;
    found->is_passed_on = passes;
    // The cursor may be beyond it: entries that on_connected took do not hold it up.
    const auto at = static_cast<std::size_t>(link.arrived.rend() - found) - 1;
    link.cursor = std::min(link.cursor, at);
}

void Model::session_ends(LinkModel& link, std::uint32_t connect, bool is_good)
{
    const Guard guard{mutex_};
    link.session_over = connect;
    if (is_good)
        link.session_good = connect;
}

void Model::connect_ends(LinkModel& link, std::uint32_t connect)
{
    const Guard guard{mutex_};
    link.connect_over = connect;
}

void Model::closes(LinkModel& link, std::uint32_t connect)
{
    const Guard guard{mutex_};
    link.closing = connect;
}

void Model::is_handed(LinkModel& link, std::uint32_t connect)
{
    const Guard guard{mutex_};
    require(link.closing != connect, "link {}: a write after the close began", link.name);
}

void Model::match_connection(LinkModel& link, std::uint32_t connect, std::uint32_t connection,
                             std::string_view text)
{
    const auto [at, is_new] = link.numbers.emplace(connect, connection);
    bool fits = at->second == connection;
    if (is_new && at != link.numbers.begin())
        fits = fits && std::prev(at)->second < connection;
    if (is_new && std::next(at) != link.numbers.end())
        fits = fits && connection < std::next(at)->second;
    require(fits, "link {}: \"{}\" of connection {} is on connect {}, which is connection {}",
            link.name, text.substr(0, 20), connection, connect, at->second);
}

void Model::writes(LinkModel& link, std::string_view text, std::uint32_t connect, TimePoint handed,
                   TimePoint now)
{
    const Guard guard{mutex_};
    ++link.written;
    const auto rate = static_cast<std::size_t>(link.plan.rate_messages);
    if (rate != 0 && link.plan.rate_burst == 0 && !text.starts_with("heart")) {
        auto& times = link.written_at;
        require(times.size() < rate
                    || handed - times[times.size() - rate] >= milliseconds(link.plan.rate_per),
                "link {}: \"{}\" is more than {} messages in {} ms", link.name, text.substr(0, 20),
                rate, link.plan.rate_per);
        times.push_back(now);
    }
    if (!text.empty() && text.front() != 'm')
        return; // a login, a subscription, a heartbeat
    const auto is_it = [&](const auto& each) {
        return each.text == text && !each.is_written && each.outcome != LinkModel::Sent::refused;
    };
    const auto found = std::find_if(link.sent.begin(), link.sent.end(), is_it);
    if (found == link.sent.end())
        return complain("link {}: the peer got \"{}\" ({} bytes), which nobody sent, or twice",
                        link.name, text.substr(0, 20), text.size());
    auto& message = *found;
    message.is_written = true;
    if (text.empty())
        return; // one of several that look alike
    require(!message.is_overtaken, "link {}: \"{}\" was written behind a later one", link.name,
            text.substr(0, 20));
    require(!message.is_doubtful, "link {}: \"{}\" goes out again after its write failed",
            link.name, text.substr(0, 20));
    require(!message.is_flushed, "link {}: \"{}\" was written after flush() said that it was",
            link.name, text.substr(0, 20));
    require(handed < message.too_late, "link {}: \"{}\" expired at {:.3f} and went out at {:.3f}",
            link.name, text.substr(0, 20), seconds(message.too_late), seconds(handed));
    if (message.connection != 0)
        match_connection(link, connect, message.connection, text);
    for (auto& other : link.sent)
        if (!other.is_written && other.outcome == LinkModel::Sent::accepted
            && other.is_high == message.is_high && other.ended < message.began)
            other.is_overtaken = true;
}

void Model::doubts(LinkModel& link, std::string_view text)
{
    const Guard guard{mutex_};
    for (auto& message : link.sent)
        if (!text.empty() && message.text == text)
            message.is_doubtful = true;
}

// --- the application's side

std::size_t Model::send_begins(LinkModel& link, std::string text, std::uint32_t connection,
                               bool is_high)
{
    const Guard guard{mutex_};
    link.sent.push_back({.text = std::move(text),
                         .is_high = is_high,
                         .connection = connection,
                         .began = ++sequence_});
    return link.sent.size() - 1;
}

void Model::send_ends(LinkModel& link, std::size_t number, const sidecar::Result<void>& result,
                      TimePoint too_late)
{
    const Guard guard{mutex_};
    auto& message = link.sent[number];
    message.ended = ++sequence_;
    message.too_late = too_late;
    message.outcome = result ? LinkModel::Sent::accepted : LinkModel::Sent::refused;
    require(result || !message.is_written || message.text.empty(),
            "link {}: \"{}\" was refused ({}) and written", link.name, message.text.substr(0, 20),
            result ? "" : result.error().message());
    if (!result && result.error() == sidecar::Error::full)
        ++link.refused_for_room;
}

void Model::flushed(LinkModel& link, std::uint64_t began)
{
    const Guard guard{mutex_};
    for (auto& message : link.sent)
        if (message.outcome == LinkModel::Sent::accepted && message.ended < began)
            message.is_flushed = true;
}

void Model::subscribes(LinkModel& link)
{
    const Guard guard{mutex_};
    link.has_subscriptions = link.has_more_subscriptions = true;
}

/// The next one, behind those that gaps say are missing. Those that on_connected had may be missing
/// without a gap if it failed, and all if the policy is to fail.
void Model::take_in_order(LinkModel& link, const MessageView& message)
{
    const bool may_fail = link.plan.policy == static_cast<int>(sidecar::OverflowPolicy::fail);
    std::uint64_t between = 0, must_be_missing = 0;
    for (auto at = link.cursor; at < link.arrived.size() && must_be_missing <= link.pending_missing;
         ++at) {
        auto& next = link.arrived[at];
        if (next.is_taken)
            continue;
        if (next.text == message.text() && between >= link.pending_missing) {
            next.is_seen = true;
            link.cursor = at + 1;
            link.pending_missing = 0;
            return match_connection(link, next.connect, message.connection(), message.text());
        }
        ++between;
        const bool may_have_failed =
            next.is_in_session || link.plan.prepares == passes_on
            || (link.plan.prepares && !link.numbers.contains(next.connect));
        must_be_missing += may_have_failed || may_fail ? 0 : 1;
    }
    complain("link {}: received \"{}\" ({} bytes) behind gaps of {}; the next one is {}", link.name,
             message.text().substr(0, 20), message.size(), link.pending_missing,
             link.cursor == link.arrived.size()
                 ? "none"
                 : fmt::format("\"{}\"", link.arrived[link.cursor].text.substr(0, 20)));
}

/// Messages of a key overtake others, but never each other.
void Model::take_by_key(LinkModel& link, const MessageView& message)
{
    link.replaced += message.replaced();
    for (std::size_t i = 0; i < link.arrived.size(); ++i) {
        auto& each = link.arrived[i];
        if (each.is_taken || each.is_seen || each.text != message.text())
            continue;
        each.is_seen = true;
        match_connection(link, each.connect, message.connection(), message.text());
        const auto key = message.size() < 12 ? '-' : message.text().back();
        const auto last = std::exchange(link.last_of_key[key], i + 1);
        require(last <= i || message.size() < 12,
                "link {}: \"{}\" came after a later one of its key", link.name,
                message.text().substr(0, 20));
        return;
    }
    complain("link {}: received \"{}\", which the peer did not send, or twice", link.name,
             message.text().substr(0, 20));
}

void Model::takes(const MessageView& message)
{
    const Guard guard{mutex_};
    ++taken_;
    auto* const link = find(message.link());
    if (!link)
        return;
    ++link->seen;
    if (link->plan.policy == static_cast<int>(sidecar::OverflowPolicy::conflate))
        take_by_key(*link, message);
    else
        take_in_order(*link, message);
}

void Model::sees_gap(LinkId id, std::uint64_t missing, bool is_conflated)
{
    const Guard guard{mutex_};
    auto* const link = find(id);
    if (!link)
        return;
    require(missing > 0, "link {}: a gap of no messages", link->name);
    (is_conflated ? link->replaced : link->missing) += missing;
    link->pending_missing += missing;
}

void Model::sees_nothing()
{
    const Guard guard{mutex_};
    for (const auto& link : links_)
        link->events_in_a_row = 0;
}

/// Answers to subscriptions that arrived on this connection; many, if that is not known.
int Model::count_answers(const LinkModel& link, std::uint32_t connection) const
{
    const auto at = std::find_if(link.numbers.begin(), link.numbers.end(),
                                 [&](const auto& pair) { return pair.second == connection; });
    if (at != link.numbers.end())
        return static_cast<int>(
            std::count_if(link.arrived.begin(), link.arrived.end(), [&](const auto& each) {
                return each.connect == at->first && each.text.starts_with("ack ");
            }));
    return INT32_MAX;
}

void Model::sees(const Event& event, TimePoint now)
{
    using Kind = Event::Kind;
    const Guard guard{mutex_};
    if (is_stopped_seen_)
        return complain("\"{}\" came behind `stopped`", to_string(event));
    if (event.kind == Kind::stopped) {
        require(is_stop_requested_, "`stopped`, and nobody asked for it");
        is_stopped_seen_ = true;
        return;
    }
    auto* const found = find(event.link);
    if (!found)
        return;
    auto& link = *found;
    const auto wrong = [&](std::string_view why) {
        complain("link {}: \"{}\": {}", link.name, to_string(event), why);
    };
    if (link.phase == LinkModel::over)
        return wrong("the link had ended for good");
    if (event.kind == Kind::message)
        require(link.phase == LinkModel::up && event.connection == link.connection,
                "link {}: \"{}\" of connection {} while {} is {}", link.name,
                event.message.text().substr(0, 20), event.connection, link.connection,
                link.phase == LinkModel::up ? "up" : "gone");
    // Water levels come where the queue is, and when it changes
    else if (event.kind != Kind::gap && event.kind != Kind::high_water
             && event.kind != Kind::low_water) {
        require(event.at >= link.last_at && event.at <= now,
                "link {}: \"{}\" at {:.6f}, the one before at {:.6f}, now {:.6f}", link.name,
                to_string(event), seconds(event.at), seconds(link.last_at), seconds(now));
        link.last_at = event.at;
    }
    // Of 64 unread events in a row the older ones may be missing, the latest not
    link.events_in_a_row = event.kind == Kind::message ? 0 : link.events_in_a_row + 1;
    require(link.events_in_a_row < 200, "link {}: {} events in a row waited to be read", link.name,
            link.events_in_a_row);
    if (event.kind == Kind::message) {
        require(link.skipped_before == 0 || link.skipped_before >= 16,
                "link {}: connections are missing in a row of {} events", link.name,
                link.skipped_before);
        link.skipped_before = 0;
    } else if (link.skipped_before != 0) {
        ++link.skipped_before;
    }
    const auto skip = [&](bool is_next) {
        if (!is_next)
            link.skipped_before = 1;
    };
    const bool is_end = event.kind == Kind::down || event.kind == Kind::retry;
    switch (event.kind) {
    case Kind::up:
        if (link.phase == LinkModel::up)
            wrong("it was up");
        if (event.connection <= link.connection)
            wrong(fmt::format("the connection before was {}", link.connection));
        skip(event.connection == link.connection + 1);
        if ((event.continuity == sidecar::Continuity::first) != (event.connection == 1))
            wrong("its continuity");
        if (event.at < link.next_attempt)
            wrong("earlier than announced");
        link.phase = LinkModel::up;
        link.connection = event.connection;
        link.is_ready = link.is_stale = false;
        break;
    case Kind::down:
        if (link.phase != LinkModel::up && !link.is_ending)
            wrong("it was not up");
        if (event.connection < link.connection)
            wrong(fmt::format("connection {} was up", link.connection));
        skip(event.connection == link.connection);
        link.connection = event.connection;
        break;
    case Kind::retry:
        if (link.phase == LinkModel::up)
            wrong("it was up");
        if (event.at < link.next_attempt)
            wrong("earlier than announced");
        break;
    case Kind::ready:
        if (link.phase != LinkModel::up || std::exchange(link.is_ready, true))
            wrong("it was ready, or not up");
        if (link.plan.prepares == 0 && !link.has_subscriptions)
            wrong("there was nothing to restore");
        if (!event.failure && link.plan.acks == 3 && link.plan.policy != 4
            && !link.has_more_subscriptions)
            require(count_answers(link, event.connection) >= link.plan.subscriptions,
                    "link {}: \"{}\" with {} answers", link.name, to_string(event),
                    count_answers(link, event.connection));
        break;
    case Kind::high_water:
        if (std::exchange(link.is_high, true))
            wrong("it was high");
        break;
    case Kind::low_water:
        if (!std::exchange(link.is_high, false))
            wrong("it was not high");
        break;
    case Kind::stale:
        if (link.phase != LinkModel::up || std::exchange(link.is_stale, true))
            wrong("it was stale, or not up");
        if (event.data_age < milliseconds(link.plan.idle_timeout))
            wrong("too early");
        break;
    case Kind::fresh:
        if (link.phase != LinkModel::up || !std::exchange(link.is_stale, false))
            wrong("it was not stale, or not up");
        if (event.data_age < milliseconds(link.plan.idle_timeout))
            wrong("too early");
        break;
    case Kind::writable:
        if (link.refused_for_room == 0)
            wrong("no send() was refused");
        else
            --link.refused_for_room;
        break;
    default: break;
    }
    if (!is_end)
        return;
    link.phase = event.next_attempt ? LinkModel::away : LinkModel::over;
    if (!event.next_attempt)
        return;
    const auto& plan = link.plan;
    link.next_attempt = *event.next_attempt;
    const auto longest = milliseconds(std::max({plan.window, plan.max_window, plan.busy_delay}));
    if (link.next_attempt < event.at || link.next_attempt > event.at + longest)
        wrong("its next attempt is out of bounds");
    if (!plan.reconnect)
        wrong("it has no Reconnect");
}

// --- at rest

bool Model::has_waiting() const
{
    const Guard guard{mutex_};
    for (const auto& link : links_) {
        const bool may_fail = link->plan.policy == static_cast<int>(sidecar::OverflowPolicy::fail);
        if ((link->plan.policy != 0 && !may_fail) || link->plan.max_age != 0 || link->is_ending)
            continue;
        for (auto at = link->cursor; at < link->arrived.size(); ++at) {
            const auto& each = link->arrived[at];
            const bool is_present = each.connect > link->connect_over;
            const bool is_due = each.is_in_session
                                    ? each.connect == link->session_good && is_present
                                    : is_present || !may_fail;
            if (!each.is_taken && is_due)
                return true;
        }
    }
    return false;
}

void Model::balance(const sidecar::Stats& stats, std::uint64_t unsent)
{
    const Guard guard{mutex_};
    std::uint64_t open = 0, missing = 0, replaced = 0, unwritten = 0, may_be_late = 0;
    for (const auto& link : links_) {
        missing += link->missing;
        replaced += link->replaced;
        std::uint64_t arrived = 0, gone = 0;
        for (const auto& each : link->arrived) {
            arrived += each.is_taken ? 0 : 1;
            gone += each.is_seen ? 1 : 0;
        }
        open += arrived - gone - link->missing - link->replaced;
        for (const auto& each : link->sent) {
            const bool is_unwritten = each.outcome == LinkModel::Sent::accepted && !each.is_written;
            unwritten += is_unwritten ? 1 : 0;
            // Empty ones look alike, so another one may seem to be written
            may_be_late +=
                (is_unwritten || each.text.empty()) && each.too_late != TimePoint::max() ? 1 : 0;
        }
    }
    require(stats.messages_taken == taken_, "{} messages taken; the stats say {}", taken_,
            stats.messages_taken);
    require(stats.messages_received
                == stats.messages_taken + stats.lost() + stats.conflated + stats.inbox_messages,
            "received {} = taken {} + lost {} + conflated {} + queued {} does not hold",
            stats.messages_received, stats.messages_taken, stats.lost(), stats.conflated,
            stats.inbox_messages);
    const auto unseen = stats.lost() + stats.conflated - missing - replaced;
    require(
        open == stats.discarded + stats.inbox_messages + unseen,
        "{} messages neither received nor in a gap; discarded {}, queued {}, in gaps to come {}",
        open, stats.discarded, stats.inbox_messages, unseen);
    require(stats.unsent_late <= may_be_late, "{} sends expired, and {} may have",
            stats.unsent_late, may_be_late);
    require(unwritten == unsent, "{} accepted sends were not written; the report says {}",
            unwritten, unsent);
}

} // namespace simulation
