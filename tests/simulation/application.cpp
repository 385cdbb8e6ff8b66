#include "simulation/application.hpp"

#include "simulation/memory.hpp"

#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <utility>

namespace simulation {

using sidecar::Context, sidecar::Error, sidecar::Event, sidecar::Failure, sidecar::MessageView,
    sidecar::Result, sidecar::Task;
using Feed = sidecar::Sidecar<Wire>;

namespace {

/// What a hook of the world throws.
struct Thrown : std::runtime_error {
    Thrown() : runtime_error{"thrown by the world"} {}
};

/// Says that on_connected has ended, however it does.
struct SessionEnd {
    Peer& peer;
    std::uint32_t connect;
    bool is_good = false;
    ~SessionEnd() { peer.model.session_ends(*peer.link, connect, is_good); }
};

Task<> prepare(std::shared_ptr<Peer> peer, Context ctx, sidecar::Session& session)
{
    const auto connect = peer->connect_count;
    SessionEnd end{*peer, connect};
    const auto& plan = peer->plan;
    Random random{peer->seed + connect};
    const auto receive = [&]() -> Task<sidecar::Message> {
        auto message = co_await session.receive();
        peer->model.session_takes(*peer->link, message.text(), connect);
        co_return message;
    };
    end.is_good = peer->is_good;
    if (end.is_good)
        co_return;
    co_await ctx.sleep_for(milliseconds(plan.prepares_for));
    switch (plan.prepares) {
    case logs_in: {
        co_await session.send("login");
        for (bool is_in = false; !is_in;)
            is_in = (co_await receive()).text().starts_with("welcome");
        break;
    }
    case takes_some:
        for (int i = 0; i < 2; ++i)
            (void)co_await receive();
        break;
    case passes_on:
        for (int i = 0; i < 6; ++i) {
            auto message = co_await receive();
            const std::string text{message.text()};
            peer->model.session_passes_on(*peer->link, text, true);
            try {
                co_await session.pass_on(std::move(message));
            } catch (...) {
                peer->model.session_passes_on(*peer->link, text, false);
                throw;
            }
        }
        break;
    case sometimes_throws:
        if (random.percent(50))
            throw Thrown{};
        break;
    case sometimes_refuses:
        if (random.percent(30))
            session.refuse("the world refuses");
        break;
    default: break;
    }
    end.is_good = true;
}

std::string subscription_text(int key, int version)
{
    return fmt::format("sub {}.{}", key, version);
}

sidecar::AckPredicate answer_to(int key, int version, int acks)
{
    if (acks == 0)
        return {};
    return [wanted = fmt::format("ack {}.{} ", key, version), acks](const MessageView& message) {
        if (acks == 2)
            throw Thrown{};
        return message.text().starts_with(acks == 3 ? "ack " : wanted);
    };
}

/// What is the same in Options and in LinkOptions.
template <class T>
void set_link_options(T& options, const std::shared_ptr<Peer>& peer)
{
    const auto& plan = peer->plan;
    if (plan.reconnect) {
        auto& reconnect = options.reconnect.emplace();
        reconnect.window = milliseconds(plan.window);
        reconnect.max_window = milliseconds(std::max(plan.window, plan.max_window));
        reconnect.stable_after = milliseconds(plan.stable_after);
        reconnect.busy_delay = milliseconds(plan.busy_delay);
        reconnect.max_attempts = static_cast<std::uint32_t>(plan.max_attempts);
        if (plan.max_outage)
            reconnect.max_outage = milliseconds(plan.max_outage);
        reconnect.connect_timeout = milliseconds(plan.connect_timeout);
        reconnect.at_start = plan.at_start != 0;
        if (plan.keep)
            reconnect.on_disconnect = sidecar::OnDisconnect::keep;
        if (plan.retry_if)
            reconnect.retry_if = [how = plan.retry_if, count = 0](const Failure&) mutable {
                if (++count == 3 && how == 3)
                    throw Thrown{};
                return count != 3 || how == 1;
            };
        reconnect.random = [random = Random{peer->seed}]() mutable { return random.next(); };
    }
    if (plan.prepares)
        options.on_connected = [weak = std::weak_ptr{peer}](Context ctx,
                                                            sidecar::Session& session) {
            return prepare(weak.lock(), ctx, session);
        };
    options.on_connected_timeout = milliseconds(plan.prepare_timeout);
    for (int i = 0; i < plan.subscriptions; ++i)
        options.subscriptions.push_back({.key = fmt::format("o{}", i),
                                         .message = subscription_text(i, 9),
                                         .is_answer = answer_to(i, 9, plan.acks)});
    options.ack_timeout = milliseconds(plan.ack_timeout);
    auto& overflow = options.overflow;
    overflow.policy = static_cast<sidecar::OverflowPolicy>(plan.policy);
    if (overflow.policy == sidecar::OverflowPolicy::conflate)
        overflow.key = [](const MessageView& message) -> std::optional<std::string_view> {
            if (message.size() < 12)
                return std::nullopt;
            return message.text().substr(message.size() - 1);
        };
    overflow.queue_messages = static_cast<std::size_t>(plan.queue_messages);
    if (plan.queue_bytes)
        overflow.queue_bytes = static_cast<std::size_t>(plan.queue_bytes + 2 * plan.max_message);
    overflow.max_age = milliseconds(plan.max_age);
    if (plan.high) {
        overflow.high.messages = static_cast<std::size_t>(plan.high);
        overflow.low.messages = static_cast<std::size_t>(std::min(plan.low, plan.high - 1));
    }
    const bool pings = plan.ping_interval > 0;
    options.ping_interval = milliseconds(plan.ping_interval);
    options.ping_timeout = milliseconds(plan.ping_timeout);
    options.idle_timeout = milliseconds(plan.idle_timeout);
    if (plan.drops_idle && plan.idle_timeout > 0)
        options.on_idle = sidecar::OnIdle::drop;
    if (plan.heartbeat && pings) {
        options.heartbeat.emplace();
        options.heartbeat->message = "heart";
        options.heartbeat->keeps_answers = plan.heartbeat == 2;
        options.heartbeat->is_answer = [weak = std::weak_ptr{peer}](const MessageView& message) {
            const auto its_peer = weak.lock();
            if (!its_peer || !message.text().starts_with("beat"))
                return false;
            if (its_peer->plan.heartbeat == 3)
                throw Thrown{};
            if (its_peer->plan.heartbeat == 1)
                its_peer->model.hides(*its_peer->link, message.text());
            return true;
        };
    }
    if (plan.rate_messages || plan.rate_bytes) {
        options.rate_limit.emplace();
        options.rate_limit->messages = static_cast<std::uint64_t>(plan.rate_messages);
        options.rate_limit->bytes = static_cast<std::uint64_t>(plan.rate_bytes);
        options.rate_limit->per = milliseconds(plan.rate_per);
        if (plan.rate_messages)
            options.rate_limit->burst_messages = static_cast<std::uint64_t>(plan.rate_burst);
    }
    options.outbox.bytes = static_cast<std::size_t>(plan.outbox_bytes);
    options.outbox.messages = static_cast<std::size_t>(plan.outbox_messages);
}

} // namespace

// --- construction

Application::Application(const World& world, Model& model, bool traces)
    : world_{world},
      model_{model},
      traces_{traces},
      clock_{{.interleaving = static_cast<std::uint64_t>(world.interleaving)}},
      opened_(world.links.size())
{
    opened_[0].peer = make_peer(0);
    feeds_.push_back(std::make_unique<Feed>(make_wire(opened_[0].peer), make_options()));
    feed_ = feeds_.back().get();
}

Application::~Application() = default;

std::shared_ptr<Peer> Application::make_peer(int index)
{
    const auto& plan = world_.links[static_cast<std::size_t>(index)];
    auto peer =
        std::make_shared<Peer>(model_, plan, world_.seed * 31 + static_cast<std::uint64_t>(index));
    if (traces_)
        peer->note = [this](std::string text) { note(std::move(text)); };
    std::lock_guard lock{mutex_};
    return peers_.emplace_back(std::move(peer));
}

Wire::Options Application::make_wire(const std::shared_ptr<Peer>& peer) const
{
    return {.peer = peer,
            .max_message_bytes = static_cast<std::size_t>(peer->plan.max_message),
            .clock = clock_};
}

sidecar::Options Application::make_options()
{
    sidecar::Options options;
    std::size_t largest = 0;
    for (const auto& link : world_.links)
        largest = std::max(largest, static_cast<std::size_t>(link.max_message));
    if (world_.inbox_bytes)
        options.inbox.bytes = std::max(static_cast<std::size_t>(world_.inbox_bytes), 4 * largest);
    options.inbox.messages = static_cast<std::size_t>(world_.inbox_messages);
    options.stop.total = milliseconds(world_.stop_total);
    options.stop.drain = milliseconds(world_.stop_drain);
    options.stop.close = milliseconds(world_.stop_close);
    options.stop.cancel = milliseconds(world_.stop_cancel);
    options.log = [throws = world_.log_throws, count = std::make_shared<std::atomic<int>>(0)](
                      sidecar::LogLevel, std::string_view) {
        if (++*count % 3 == 0 && throws)
            throw Thrown{};
    };
    set_link_options(options, opened_[0].peer);
    return options;
}

sidecar::LinkOptions Application::make_link_options(const std::shared_ptr<Peer>& peer)
{
    sidecar::LinkOptions options;
    set_link_options(options, peer);
    return options;
}

// --- helpers

void Application::note(std::string text)
{
    if (traces_)
        fmt::print(stderr, "{}\n", text);
}

Application::Opened Application::opened(int index)
{
    std::lock_guard lock{mutex_};
    return opened_[static_cast<std::size_t>(index)];
}

template <class Call>
auto Application::timed(const char* what, Duration limit, Duration more, Call make_call)
{
    const auto before = now();
    auto result = make_call();
    const auto took = now() - before;
    model_.require(took <= limit + more, "{} with {:.3f} s took {:.3f} s", what, seconds(limit),
                   seconds(took));
    if constexpr (requires { result.has_error(); }) {
        if (traces_)
            note(fmt::format("{:10.6f} {} {:.3f}: {}", seconds(now()), what, seconds(limit),
                             result ? std::string{"ok"} : result.error().message()));
        // A link's own timeout is its end: then will_retry() is false
        model_.require(
            !(result == Error::timed_out) || !result.error().will_retry() || took >= limit,
            "{} with {:.3f} s timed out after {:.3f} s", what, seconds(limit), seconds(took));
    }
    return result;
}

// --- the program

void Application::run()
{
    start({.verb = Verb::start, .a = world_.start_timeout, .b = world_.background});
    {
        std::optional<sidecar::MockThread> second;
        if (world_.threads == 2)
            second.emplace(clock_, [this] { run_thread(1); });
        run_thread(0);
        if (second)
            second->join();
    }
    finish();
}

void Application::run_thread(int thread)
{
    for (const auto& step : world_.steps)
        if (!is_lost_ && !model_.has_complaint() && (world_.threads == 1 || step.thread == thread))
            run_step(step);
}

void Application::run_step(const Step& step)
{
    if (traces_)
        note(fmt::format("{:10.6f} step {} link {} a {} b {} c {}", seconds(now()),
                         static_cast<int>(step.verb), step.link, step.a, step.b, step.c));
    switch (step.verb) {
    case Verb::receive: (void)receive(milliseconds(step.a)); break;
    case Verb::poll: (void)poll(static_cast<std::size_t>(step.a), step.b); break;
    case Verb::next_event: (void)next_event(milliseconds(step.a)); break;
    case Verb::send: send(step); break;
    case Verb::flush: flush(step); break;
    case Verb::open: open(step); break;
    case Verb::close: close(step); break;
    case Verb::subscribe: subscribe(step); break;
    case Verb::unsubscribe: unsubscribe(step); break;
    case Verb::feed_subscribe: feed_subscribe(step); break;
    case Verb::feed_unsubscribe: (void)feed().unsubscribe(fmt::format("{}", step.a), "uns"); break;
    case Verb::spawn: spawn(step); break;
    case Verb::call: call(step); break;
    case Verb::sleep: {
        const auto before = now();
        const bool slept = feed().sleep_for(milliseconds(step.a));
        model_.require(!slept || !is_running_ || now() - before == milliseconds(step.a),
                       "sleep_for({} ms) took {:.3f} s", step.a, seconds(now() - before));
        model_.require(slept || is_stop_asked_ || !is_running_,
                       "sleep_for() says that a stop was requested");
        break;
    }
    case Verb::look: look(step); break;
    case Verb::handle: handle(); break;
    case Verb::release: {
        std::lock_guard lock{mutex_};
        opened_[static_cast<std::size_t>(step.link)].link.reset();
        break;
    }
    case Verb::move: move(); break;
    case Verb::wait_started:
        (void)timed("wait_started", milliseconds(step.a), {},
                    [&] { return feed().wait_started(milliseconds(step.a)); });
        break;
    case Verb::request_stop:
        is_stop_asked_ = true;
        model_.ends(nullptr);
        feed().request_stop();
        break;
    case Verb::stop_on_loop: {
        const auto stops = [](Application& self, Context ctx, int delay, int how) -> Task<> {
            co_await ctx.sleep_for(milliseconds(delay));
            self.is_stop_asked_ = true;
            self.model_.ends(nullptr);
            if (how == 0)
                self.feed().request_stop();
            else
                self.model_.require(!self.feed().stop().joined, "stop() on the loop waited");
        };
        (void)feed().spawn("stops", [this, stops, step](Context ctx) {
            return stops(*this, ctx, step.a, step.b);
        });
        break;
    }
    case Verb::stop: stop(step.a); break;
    case Verb::wait_stopped: wait_stopped(step.a); break;
    case Verb::start: start(step); break;
    }
}

// --- runs

void Application::begin_run()
{
    ++run_count_;
    model_.begin_run(is_stop_asked_);
    std::lock_guard lock{mutex_};
    auto first = opened_[0].peer;
    opened_.assign(world_.links.size(), {});
    first->link = model_.add(first->plan);
    first->link->has_subscriptions |= has_feed_subscriptions_;
    first->is_good = false;
    opened_[0].peer = first;
}

void Application::start(const Step& step)
{
    const bool was_running = is_running_;
    if (world_.threads == 2 && run_count_ != 0)
        return; // the other thread may still note what the run before gave
    if (!was_running && is_stop_asked_)
        return model_.require(feed().start({}).has_error(), "a stop was asked for, and it starts");
    if (!was_running)
        begin_run();
    if (step.b) {
        const auto result = timed("start_in_background", {}, {}, [&] {
            return feed().start_in_background(step.a ? std::optional{milliseconds(step.a)}
                                                     : std::nullopt);
        });
        model_.require(!was_running || !result, "started twice");
        is_running_ = is_running_ || result;
    } else {
        const auto more = milliseconds(20 + world_.stop_total);
        const auto result = timed("start", milliseconds(step.a), more,
                                  [&] { return feed().start(milliseconds(step.a)); });
        model_.require(!was_running || !result, "started twice");
        is_running_ = is_running_ || result;
        model_.require(!(result == Error::bad_options), "{}",
                       result ? "" : result.error().message());
    }
    if (!is_running_ || was_running)
        return;
    auto link = feed().link();
    if (!link)
        return;
    model_.name(opened(0).peer->link, link->id());
    std::lock_guard lock{mutex_};
    opened_[0].link = std::move(*link);
}

void Application::open(const Step& step)
{
    const auto index = static_cast<std::size_t>(step.link);
    if (!is_running_ || opened(step.link).link || step.link == 0)
        return;
    auto peer = make_peer(step.link);
    if (is_stop_asked_)
        model_.ends(nullptr);
    const auto options = make_link_options(peer);
    auto result = timed("open", milliseconds(step.a), milliseconds(20), [&] {
        return feed().open(make_wire(peer), milliseconds(step.a), options);
    });
    std::lock_guard lock{mutex_};
    opened_[index] = {.peer = peer, .link = {}};
    if (!result) {
        if (result.error().link())
            model_.name(peer->link, *result.error().link());
        model_.ends(peer->link.get());
        peer->has_failed_to_open = true;
        return;
    }
    model_.name(peer->link, result->id());
    opened_[index].link = std::move(*result);
}

void Application::close(const Step& step)
{
    const auto [peer, link] = opened(step.link);
    if (!link)
        return;
    sidecar::CloseReason reason;
    if (step.b == 1)
        reason = {.code = 1001, .reason = "away"};
    if (step.b == 2)
        reason.code = 5;
    else
        model_.ends(peer->link.get());
    auto its_link = *link;
    const auto result = timed("close", milliseconds(step.a), milliseconds(20),
                              [&] { return its_link.close(milliseconds(step.a), reason); });
    model_.require(step.b != 2 || !result, "a close with code 5");
}

void Application::stop(int reason)
{
    is_stop_asked_ = true;
    model_.ends(nullptr);
    sidecar::CloseReason why;
    if (reason == 1)
        why = {.code = 1001, .reason = "stops"};
    if (reason == 2)
        why.code = 7;
    const auto total = milliseconds(world_.stop_total);
    const auto report = timed("stop", total, {}, [&] { return feed().stop(why); });
    is_stop_asked_ = false;
    if (is_running_.exchange(false))
        is_over(report);
}

void Application::wait_stopped(int timeout)
{
    if (!is_running_)
        return;
    const auto result = timed("wait_stopped", milliseconds(timeout), {},
                              [&] { return feed().wait_stopped(milliseconds(timeout)); });
    if (!result)
        return;
    is_stop_asked_ = false;
    if (is_running_.exchange(false))
        is_over(*result);
}

void Application::is_over(const sidecar::StopReport& report)
{
    note(fmt::format("{:10.6f} {}", seconds(now()), to_line(report)));
    if (!model_.stop_ended(report)) {
        is_lost_ = true;
        return;
    }
    const auto dump = feed().dump();
    model_.require(dump.find("task \"") == std::string::npos, "tasks after the stop: {}", dump);
    if (world_.threads == 2)
        return; // the other thread may have taken what it has not noted yet
    model_.require(feed().stats().inbox_messages == report.unread_messages,
                   "the report says {} unread messages, the stats {}", report.unread_messages,
                   feed().stats().inbox_messages);
    model_.balance(feed().stats(), report.unsent_messages);
    if (world_.seed % 2 == 0)
        return; // nobody reads it
    read_all();
    model_.balance(feed().stats(), report.unsent_messages);
    model_.require(feed().stats().inbox_messages == 0, "messages are left that nobody gets");
}

// --- receiving

void Application::take(const MessageView& message)
{
    if (traces_)
        note(fmt::format("{:10.6f}   message of link {} connection {}: {} \"{}\"", seconds(now()),
                         static_cast<int>(message.link()), message.connection(), message.size(),
                         message.text().substr(0, 20)));
    model_.takes(message);
}

/// A gap is an error of receive() and poll(), whose text says how many messages are missing.
void Application::failed(const Failure& failure)
{
    if (failure.error() != Error::gap)
        return;
    const auto& text = failure.explanation();
    const auto digits = text.find_first_of("0123456789");
    if (digits == std::string::npos || !failure.link())
        return model_.complain("a gap says nothing: {}", failure.message());
    model_.sees_gap(*failure.link(), std::stoull(text.substr(digits)),
                    text.find("conflated") != std::string::npos);
}

bool Application::receive(Duration timeout)
{
    auto message = timed("receive", timeout, {}, [&] { return feed().receive(timeout); });
    if (message)
        take(message->view());
    else
        failed(message.error());
    return message || message.error().error() == Error::gap
           || (message.error().will_retry() && message.error().error() != Error::timed_out);
}

Error Application::next_event(Duration timeout)
{
    auto event = timed("next_event", timeout, {}, [&] { return feed().next_event(timeout); });
    if (!event) {
        model_.sees_nothing();
        return event.error().error();
    }
    if (traces_)
        note(fmt::format("{:10.6f}   event {}", seconds(now()), to_string(*event)));
    if (event->kind == Event::Kind::gap)
        model_.sees_gap(event->link, event->missing,
                        event->gap_reason == sidecar::GapReason::conflated);
    if (world_.reader == 0)
        model_.sees(*event, now());
    if (event->kind == Event::Kind::message)
        take(event->message.view());
    return Error{};
}

bool Application::poll(std::size_t limit, int how)
{
    std::size_t count = 0;
    const auto handler = [&](const MessageView& message) {
        take(message);
        ++count;
        if (how == 1 && count == 2)
            throw Thrown{};
        if (how == 2)
            send({.verb = Verb::send, .a = 12, .b = 0});
        if (how == 3)
            model_.require(feed().receive(milliseconds(1)) == Error::misuse,
                           "receive() in a handler of poll() is no misuse");
        if (how == 4 && count == 3) {
            is_stop_asked_ = true;
            model_.ends(nullptr);
            feed().request_stop();
        }
    };
    try {
        const auto polled = feed().poll(handler, limit);
        model_.require(!polled || *polled == count, "poll() handled {} and says {}", count,
                       polled ? *polled : 0);
        model_.require(count <= limit, "poll() passed its limit");
        if (!polled)
            failed(polled.error());
        return polled ? count != 0 : polled.error().error() == Error::gap;
    } catch (const Thrown&) {
        return true;
    }
}

/// All that is there now.
void Application::read_all()
{
    for (int i = 0; i < 1'000'000; ++i)
        if (!(world_.reader == 0 ? next_event({}) == Error{} : receive({})))
            return;
    model_.complain("there is no end to what can be received");
}

// --- sending

void Application::send(const Step& step)
{
    const auto [peer, link] = opened(step.link);
    if (peer)
        send_on(peer->link, link ? &*link : nullptr, step);
}

void Application::send_on(const std::shared_ptr<LinkModel>& model, const sidecar::Link* link,
                          const Step& step)
{
    const auto number = ++send_count_;
    if (!link && (step.link != 0 || step.thread != 0))
        return;
    std::string text;
    if (step.a > 0) {
        text = fmt::format("m{}.{}.", model->name, number);
        text.resize(std::max(text.size(), static_cast<std::size_t>(step.a)),
                    static_cast<char>('a' + number % 26));
    }
    sidecar::SendOptions options{.timeout = milliseconds(step.b)};
    if ((step.c & 1) && link)
        options.connection = link->connection();
    if ((step.c & 2) && link)
        options.connection = link->connection() == 0 ? 77 : link->connection() - 1;
    if (step.c & 4)
        options.expires_after = milliseconds(static_cast<int>(number % 3) * 10);
    if (step.c & 8)
        options.priority = sidecar::Priority::high;
    const auto registered =
        model_.send_begins(*model, text, options.connection.value_or(0), (step.c & 8) != 0);
    const auto send = [&](const sidecar::Payload& payload) {
        if (link && (number % 2 == 0 || step.link != 0 || step.thread != 0)) {
            auto its_link = *link;
            return its_link.send(payload, options);
        }
        return feed().send(payload, options);
    };
    const auto result = timed("send", options.timeout, {}, [&] {
        return step.c & 16 ? send(std::as_bytes(std::span{text})) : send(text);
    });
    model_.send_ends(*model, registered, result,
                     options.expires_after == Duration::max()
                         ? TimePoint::max()
                         : now() + std::max(options.expires_after, Duration{1}));
}

void Application::flush(const Step& step)
{
    const auto [peer, link] = opened(step.link);
    if (!peer || (!link && (step.link != 0 || step.thread != 0)))
        return;
    const auto began = model_.flush_begins();
    const auto timeout = milliseconds(step.a);
    const auto result = timed("flush", timeout, {}, [&, its_link = link]() mutable {
        return its_link ? its_link->flush(timeout) : feed().flush(timeout);
    });
    if (result)
        model_.flushed(*peer->link, began);
}

void Application::subscribe(const Step& step)
{
    auto [peer, link] = opened(step.link);
    if (!link)
        return;
    model_.subscribes(*peer->link);
    (void)timed("subscribe", {}, {}, [&, &its_link = link] {
        return its_link->subscribe(fmt::format("{}", step.a), subscription_text(step.a, step.b),
                                   answer_to(step.a, step.b, step.c));
    });
}

void Application::unsubscribe(const Step& step)
{
    auto [peer, link] = opened(step.link);
    if (!link)
        return;
    const auto text = step.b == 0 ? std::string{} : fmt::format("uns {}.{}", step.a, step.b);
    (void)timed("unsubscribe", {}, {}, [&, &its_link = link] {
        return its_link->unsubscribe(fmt::format("{}", step.a), text,
                                     answer_to(step.a, step.b, step.b == 2 ? 1 : 0));
    });
}

void Application::feed_subscribe(const Step& step)
{
    model_.subscribes(*opened(0).peer->link);
    has_feed_subscriptions_ = true;
    (void)feed().subscribe(fmt::format("{}", step.a), subscription_text(step.a, step.b),
                           answer_to(step.a, step.b, step.c));
}

// --- coroutines

void Application::spawn(const Step& step)
{
    const auto body = [](Application& self, Context ctx, Step its_step) -> Task<> {
        co_await ctx.sleep_for(milliseconds(its_step.b));
        if (its_step.a == 1)
            throw Thrown{};
        if (its_step.a == 2)
            self.send({.verb = Verb::send, .link = its_step.link, .a = 40});
        if (its_step.a == 3)
            self.model_.require(self.feed().receive(milliseconds(1)) == Error::misuse,
                                "receive() on the loop is no misuse");
        if (its_step.a == 4)
            (void)self.feed().flush({});
    };
    (void)timed("spawn", {}, {}, [&] {
        return feed().spawn("spawned",
                            [this, body, step](Context ctx) { return body(*this, ctx, step); });
    });
}

void Application::call(const Step& step)
{
    const auto body = [](Application& self, Context ctx, Step its_step) -> Task<int> {
        co_await ctx.sleep_for(milliseconds(its_step.b));
        if (its_step.a == 1)
            throw Thrown{};
        if (its_step.a == 3)
            self.model_.require(self.feed().sleep_for(milliseconds(1)) == false,
                                "sleep_for() on the loop slept");
        co_return its_step.b;
    };
    try {
        const auto result = timed("call", milliseconds(step.c), {}, [&] {
            return feed().call(
                "called", [this, body, step](Context ctx) { return body(*this, ctx, step); },
                milliseconds(step.c));
        });
        model_.require(!result || *result == step.b, "call() returned another value");
        model_.require(!result || step.a != 1, "call() lost an exception");
    } catch (const Thrown&) {
        model_.require(step.a == 1, "call() threw");
    }
}

// --- questions

void Application::look(const Step& step)
{
    const auto stats = feed().stats();
    model_.require(stats.messages_received
                       == stats.messages_taken + stats.lost() + stats.conflated
                              + stats.inbox_messages,
                   "received {} = taken {} + lost {} + conflated {} + queued {} does not hold",
                   stats.messages_received, stats.messages_taken, stats.lost(), stats.conflated,
                   stats.inbox_messages);
    (void)feed().state();
    if (step.a == 1)
        (void)feed().dump();
    if (step.a == 2)
        (void)feed().errors();
    const auto [peer, link] = opened(step.link);
    if (!link)
        return;
    (void)link->is_up();
    (void)link->protocol();
    (void)link->connection_info();
    (void)link->subscription_counts();
    (void)link->subscription_state("1");
    const auto its_stats = link->stats();
    model_.require(its_stats.messages_accepted >= its_stats.messages_sent + its_stats.unsent,
                   "link {}: accepted {}, sent {}, unsent {}", peer->link->name,
                   its_stats.messages_accepted, its_stats.messages_sent, its_stats.unsent);
}

void Application::handle()
{
    const auto descriptor = feed().native_handle();
    if (!descriptor)
        return model_.complain("native_handle: {}", descriptor.error().message());
    const auto is_readable = [&] {
        pollfd look{.fd = *descriptor, .events = POLLIN, .revents = 0};
        return ::poll(&look, 1, 0) == 1;
    };
    if (world_.reader != 0 || world_.threads != 1)
        return (void)is_readable();
    const bool was_readable = is_readable();
    const bool had = next_event({}) != Error::timed_out;
    model_.require(!was_readable || had, "the descriptor is readable for nothing");
}

void Application::move()
{
    auto& before = *feeds_.back();
    feeds_.push_back(std::make_unique<Feed>(std::move(before)));
    feed_ = feeds_.back().get();
    model_.require(before.send("x") == Error::misuse, "a feed that was moved from sends");
}

// --- the end

bool Application::is_waiting()
{
    std::lock_guard lock{mutex_};
    return model_.has_waiting() || std::any_of(peers_.begin(), peers_.end(), [](const auto& peer) {
               return peer->waiting != 0;
           });
}

/// Whatever happened before, a link that is up sends.
void Application::probe(int index)
{
    const auto [peer, link] = opened(index);
    if (!link || !link->is_up() || peer->plan.rate_messages || peer->plan.rate_bytes)
        return;
    send_on(peer->link, &*link, {.verb = Verb::send, .link = index, .a = 40});
    auto its_link = *link;
    auto flushed = its_link.flush({});
    for (int i = 0; i < 30 && flushed == Error::timed_out; ++i) {
        read_all(); // what the peer answers may need the room
        flushed = its_link.flush(milliseconds(20));
    }
    model_.require(!(flushed == Error::timed_out) || !its_link.is_up(),
                   "link {} is up and does not send: {}", peer->link->name, feed().dump());
}

/// The network is good, and the application reads all: what waits then waits for nothing.
void Application::rest()
{
    if (is_stop_asked_ || !is_running_)
        return;
    const auto good = [](std::vector<std::shared_ptr<Peer>> peers, Context) -> Task<> {
        for (const auto& peer : peers)
            peer->be_good();
        co_return;
    };
    const auto made = feed().call("good", [this, good](Context ctx) {
        std::lock_guard lock{mutex_};
        return good(peers_, ctx);
    });
    if (!made)
        return;
    for (int i = 0; i < 10; ++i) {
        read_all();
        (void)feed().sleep_for(milliseconds(1));
    }
    const auto dump = feed().dump();
    model_.require(dump.find("while pass_on() waits for room") == std::string::npos
                       || feed().stats().inbox_messages != 0,
                   "pass_on() waits for room, and the queue is empty: {}", dump);
    int needed = 200;
    bool pings_often = false;
    for (const auto& plan : world_.links) {
        int its = std::max({plan.window, plan.max_window, plan.busy_delay}) + 200;
        its += plan.prepares ? std::min(plan.prepare_timeout, 11'000) : 0;
        its += plan.subscriptions || plan.connect_delay ? 2'000 : 0;
        its += plan.ack_timeout + plan.prepares_for + plan.ping_interval + plan.ping_timeout;
        needed = std::max(needed, its);
        pings_often = pings_often || (plan.ping_interval > 0 && plan.ping_interval < 10);
    }
    if (pings_often)
        needed = std::min(needed, 1'000);
    constexpr int slices = 40;
    for (int i = 0; i < slices; ++i) {
        read_all();
        (void)feed().sleep_for(milliseconds(needed / slices + 1));
    }
    for (int i = 0; i < static_cast<int>(world_.links.size()) && !pings_often; ++i)
        probe(i);
    // A queue of one message needs a turn for each
    for (int i = 0; i < 300 && (i < 3 || is_waiting()); ++i) {
        read_all();
        (void)feed().sleep_for(milliseconds(1));
    }
    read_all();
    if (is_stop_asked_ || !is_running_ || pings_often)
        return;
    for (int i = 0; i < static_cast<int>(world_.links.size()); ++i) {
        const auto [peer, link] = opened(i);
        if (!link)
            continue;
        const auto& plan = peer->plan;
        const auto& name = peer->link->name;
        const bool returns =
            plan.reconnect && plan.max_attempts == 0 && plan.max_outage == 0 && plan.retry_if <= 1
            && plan.policy != 4 && plan.prepares != sometimes_refuses
            && !(plan.drops_idle && plan.idle_timeout)
            && (i == 0 ? feed().wait_started({}).has_value() : link->connection() > 0)
            && !peer->link->is_ending && plan.connect_timeout >= 30 && plan.prepare_timeout >= 50;
        model_.require(!returns || link->is_up(), "link {} did not come back: {}", name,
                       feed().dump());
        if (!link->is_up())
            continue;
        const bool is_limited = plan.rate_messages != 0 || plan.rate_bytes != 0;
        model_.require(is_limited || link->stats().outbox_messages == 0,
                       "link {} is up and does not send: {}", name, feed().dump());
        for (int key = 0; key < plan.subscriptions && returns && !is_limited; ++key)
            model_.require(peer->subscribed.contains(subscription_text(key, 9)),
                           "link {} is up, and subscription o{} was not sent: {}", name, key,
                           feed().dump());
        model_.require(peer->waiting == 0, "link {} is up and does not read {} messages: {}", name,
                       peer->waiting.load(), feed().dump());
    }
    std::lock_guard lock{mutex_};
    for (const auto& peer : peers_) {
        const bool is_open = std::any_of(opened_.begin(), opened_.end(), [&](const auto& each) {
            return each.peer == peer && !peer->has_failed_to_open;
        });
        model_.require(is_open || !peer->is_connected || !peer->has_failed_to_open,
                       "link {} is connected, and open() failed", peer->link->name);
    }
    model_.require(!model_.has_waiting(), "messages arrived and cannot be received: {}",
                   feed().dump());
}

void Application::finish()
{
    if (is_lost_ || model_.has_complaint())
        return;
    if (world_.quiet)
        rest();
    stop(0);
    if (is_lost_)
        return;
    if (feed().state() == sidecar::State::stopped) {
        read_all();
        if (world_.threads == 2)
            model_.balance(feed().stats(), feed().stats().unsent);
        const auto last =
            world_.reader == 0 ? feed().next_event({}).error() : feed().receive({}).error();
        model_.require(last.error() == Error::stopped, "after the end: {}", last.message());
        model_.require(feed().flush({}) == Error::stopped, "flush() after the stop");
        model_.require(feed().send("x").has_error(), "send() after the stop");
        model_.require(feed().stats().inbox_messages == 0, "messages are left that nobody gets");
    }
}

} // namespace simulation
