#include "simulation/server_application.hpp"

#include "simulation/memory.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string_view>
#include <utility>

namespace simulation {

using sidecar::Context, sidecar::Error, sidecar::Event, sidecar::LinkId, sidecar::MessageView,
    sidecar::OverflowPolicy, sidecar::Task;

namespace {

/// Of "b17/3/...": "3"; "-" is none.
std::optional<std::string_view> key_of(std::string_view text)
{
    const auto begin = text.find('/') + 1;
    const auto key = text.substr(begin, text.find('/', begin) - begin);
    return key == "-" ? std::nullopt : std::optional{key};
}

/// No memory of the library, and one thread at a time.
struct Noting {
    explicit Noting(std::recursive_mutex& mutex) : lock{mutex} {}
    std::lock_guard<std::recursive_mutex> lock;
    Uncounted uncounted;
};

} // namespace

// --- the acceptor

void WireAcceptor::Backlog::add(Wire::Options client)
{
    std::lock_guard lock{mutex};
    clients.push_back(std::move(client));
    if (changed)
        boost::asio::post(executor, [event = changed] { event->set(); });
}

Task<> WireAcceptor::bind(Context ctx)
{
    std::lock_guard lock{backlog_->mutex};
    backlog_->changed = event_;
    backlog_->executor = ctx.executor();
    co_return;
}

Task<Wire::Options> WireAcceptor::accept(Context ctx)
{
    for (;;) {
        {
            std::lock_guard lock{backlog_->mutex};
            if (backlog_->changed != event_)
                throw boost::system::system_error{boost::asio::error::operation_aborted};
            if (!backlog_->clients.empty()) {
                auto client = std::move(backlog_->clients.front());
                backlog_->clients.pop_front();
                co_return client;
            }
        }
        (void)co_await ctx.wait(*event_, TimePoint::max());
    }
}

void WireAcceptor::close() noexcept
{
    std::lock_guard lock{backlog_->mutex};
    if (backlog_->changed != event_)
        return;
    backlog_->changed.reset();
    event_->set();
}

// --- options

ServerApplication::ServerApplication(const World& world, Model& model, bool traces)
    : world_{world},
      model_{model},
      traces_{traces},
      clock_{{.interleaving = static_cast<std::uint64_t>(world.interleaving)}},
      backlog_{std::make_shared<WireAcceptor::Backlog>()}
{
    server_ = std::make_unique<sidecar::Server<WireAcceptor>>(make_acceptor(), make_options());
}

ServerApplication::~ServerApplication()
{
    const Uncounted uncounted;
    clients_.clear();
}

bool ServerApplication::drops_oldest() const
{
    const auto policy = static_cast<OverflowPolicy>(world_.client_policy);
    return policy == OverflowPolicy::drop_oldest || policy == OverflowPolicy::conflate;
}

std::size_t ServerApplication::max_bytes() const
{
    return world_.client_bytes ? static_cast<std::size_t>(world_.client_bytes)
                               : std::size_t{2} << 20;
}

sidecar::Options ServerApplication::make_options() const
{
    sidecar::Options options;
    options.stop.total = milliseconds(world_.stop_total);
    options.stop.drain = milliseconds(world_.stop_drain);
    options.stop.close = milliseconds(world_.stop_close);
    options.stop.cancel = milliseconds(world_.stop_cancel);
    options.log = [](sidecar::LogLevel, std::string_view) {};
    const auto& plan = world_.links.front();
    if (plan.rate_messages) {
        options.rate_limit.emplace();
        options.rate_limit->messages = static_cast<std::uint64_t>(plan.rate_messages);
        options.rate_limit->per = milliseconds(plan.rate_per);
    }
    options.ping_interval = milliseconds(plan.ping_interval);
    options.ping_timeout = milliseconds(plan.ping_timeout);
    return options;
}

WireAcceptor::Options ServerApplication::make_acceptor()
{
    WireAcceptor::Options options{.backlog = backlog_, .clock = clock_};
    options.handshake_timeout = milliseconds(world_.handshake_timeout);
    options.max_message_bytes = 60'000;
    options.outbox = {.bytes = static_cast<std::size_t>(world_.client_bytes),
                      .messages = static_cast<std::size_t>(world_.client_messages)};
    auto& overflow = options.overflow;
    overflow.policy = static_cast<OverflowPolicy>(world_.client_policy);
    overflow.fail_after = milliseconds(world_.fail_after);
    if (overflow.policy == OverflowPolicy::conflate)
        overflow.key = [](const MessageView& message) { return key_of(message.text()); };
    if (world_.tells_gaps)
        overflow.on_gap = [](std::uint64_t missing) { return fmt::format("gap {}", missing); };
    return options;
}

// --- what clients get

void ServerApplication::note(std::string text) const
{
    if (traces_)
        fmt::print(stderr, "{:10.6f} {}\n", seconds(now()), text);
}

/// Of "b17/3/...": 17.
std::uint64_t number_of(std::string_view text)
{
    std::uint64_t number = 0;
    std::from_chars(text.data() + 1, text.data() + text.size(), number);
    return number;
}

void ServerApplication::is_written(Client& client, std::string_view text)
{
    const Noting noting{mutex_};
    const auto& name = client.peer->link->name;
    if (text.starts_with("gap ")) {
        const auto missing = number_of(text.substr(3));
        model_.require(world_.tells_gaps && missing > 0, "client {} got \"{}\"", name, text);
        client.gaps += missing;
        return;
    }
    const auto number = number_of(text);
    model_.require(client.written.insert(number).second, "client {} got \"{}\" twice", name,
                   text.substr(0, 20));
    if (text.front() == 'r' && retained_.contains(number) && !client.pushed.contains(number))
        return;
    model_.require(client.pushed.contains(number) || number <= client.known_from,
                   "client {} got \"{}\", which was not for it", name, text.substr(0, 20));
    const auto key = key_of(text);
    const bool has_key = key && world_.client_policy == static_cast<int>(OverflowPolicy::conflate);
    auto& last = client.last_of[has_key ? std::string{*key} : std::string{}];
    model_.require(number > last, "client {} got \"{}\" behind a later one", name,
                   text.substr(0, 20));
    last = number;
}

ServerApplication::Client* ServerApplication::find(const sidecar::Link& link)
{
    for (const auto& client : clients_)
        if (client->link && client->link->id() == link.id())
            return client.get();
    const auto name = link.connection_info().peer;
    const auto accepted = link.stats().messages_accepted;
    const Noting noting{mutex_};
    for (const auto& client : clients_)
        if (client->peer->link->name == name) {
            model_.require(!client->link, "client {} is two links", name);
            client->link = link;
            client->accepted_before = accepted;
            client->known_from = text_count_;
            return client.get();
        }
    model_.complain("a client \"{}\" that nobody is", name);
    return nullptr;
}

/// Those that are up, as the library says.
std::vector<ServerApplication::Client*> ServerApplication::members()
{
    std::vector<Client*> all;
    for (const auto& link : server_->clients())
        if (auto* const client = find(link))
            all.push_back(client);
    return all;
}

ServerApplication::Client* ServerApplication::one_of(const Step& step)
{
    const auto all = members();
    return all.empty() ? nullptr : all[static_cast<std::size_t>(step.link + step.c) % all.size()];
}

/// What a client was to get is sent, counted as lost, or queued within the bounds.
void ServerApplication::check(Client& client)
{
    const auto stats = client.link->stats();
    const auto& name = client.peer->link->name;
    const auto expected = client.accepted + client.accepted_before;
    model_.require(stats.messages_accepted == expected, "client {}: {} accepted, the stats say {}",
                   name, expected, stats.messages_accepted);
    model_.require(!client.link->is_up()
                       || stats.messages_accepted
                              == stats.messages_sent + stats.unsent + stats.outbox_messages,
                   "client {}: accepted {} = sent {} + unsent {} + queued {} does not hold", name,
                   stats.messages_accepted, stats.messages_sent, stats.unsent,
                   stats.outbox_messages);
    model_.require(stats.unsent_dropped + stats.unsent_conflated + stats.unsent_late
                       <= stats.unsent,
                   "client {}: dropped {}, conflated {}, late {}, unsent {}", name,
                   stats.unsent_dropped, stats.unsent_conflated, stats.unsent_late, stats.unsent);
    const auto most = static_cast<std::uint64_t>(world_.client_messages);
    model_.require(most == 0 || stats.outbox_messages <= most + 1, "client {}: {} queued of {}",
                   name, stats.outbox_messages, most);
    model_.require(stats.outbox_bytes <= 2 * max_bytes(), "client {}: {} bytes queued of {}", name,
                   stats.outbox_bytes, max_bytes());
    const Noting noting{mutex_};
    model_.require(client.gaps <= stats.unsent_dropped, "client {}: gaps of {}, and {} dropped",
                   name, client.gaps, stats.unsent_dropped);
}

// --- steps

void ServerApplication::start()
{
    if (is_running_)
        return;
    {
        std::lock_guard lock{backlog_->mutex};
        backlog_->clients.clear();
    }
    {
        const Noting noting{mutex_};
        clients_.clear();
    }
    is_running_ = is_listening_ = server_->start(milliseconds(1'000)).has_value();
    model_.require(is_running_, "the server does not start");
}

void ServerApplication::come(int plan)
{
    Wire::Options options{.peer = {}, .max_message_bytes = 60'000, .clock = clock_};
    {
        const Noting noting{mutex_};
        if (clients_.size() == 40)
            return;
        auto its = world_.links[static_cast<std::size_t>(plan)];
        its.rate_messages = world_.links.front().rate_messages;
        its.rate_per = world_.links.front().rate_per;
        its.rate_burst = its.prepares = 0;
        auto& client = *clients_.emplace_back(std::make_unique<Client>());
        client.peer = std::make_shared<Peer>(
            model_, its, world_.seed * 31 + static_cast<std::uint64_t>(clients_.size()));
        client.peer->on_written = [this, &client](std::string_view text) {
            is_written(client, text);
        };
        if (traces_)
            client.peer->note = [](const std::string& text) { fmt::print(stderr, "{}\n", text); };
        options.peer = client.peer;
    }
    backlog_->add(std::move(options));
}

std::string ServerApplication::make_text(const Step& step)
{
    auto text = fmt::format("b{}/{}/", ++text_count_,
                            step.c % 5 == 4 ? std::string{"-"} : std::to_string(step.b % 3));
    text.resize(std::max(text.size(), static_cast<std::size_t>(step.a)), 'x');
    return text;
}

void ServerApplication::broadcast(const Step& step)
{
    auto text = make_text(step);
    const auto number = text_count_;
    const auto all = members();
    std::vector<std::uint64_t> before;
    for (const auto* client : all)
        before.push_back(client->link->stats().messages_accepted);
    sidecar::BroadcastOptions options;
    if (step.c == 1)
        options.group = "g";
    if (step.c == 2)
        options.to = [](LinkId id) { return static_cast<std::uint32_t>(id) % 2 == 0; };
    if (step.c == 8) {
        text.front() = 'r';
        options.retain_as = key_of(text).value_or("none");
    }
    {
        const Noting noting{mutex_};
        for (auto* client : all)
            client->pushed.insert(number); // it may go out at once
        if (step.c == 8)
            retained_.insert(number);
    }
    const auto began = now();
    const auto result = server_->broadcast(text, options);
    model_.require(now() == began, "a broadcast waited");
    const bool is_too_big = text.size() > max_bytes();
    note(fmt::format("broadcast {} to {} of {}", text.substr(0, 12), result ? *result : 0,
                     all.size()));
    if (is_running_ && !is_stopping_ && is_listening_)
        model_.require(is_too_big ? result == Error::too_big : result.has_value(),
                       "a broadcast of {} bytes: {}", text.size(),
                       result ? "taken" : result.error().message());
    std::size_t reached = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        auto& client = *all[i];
        const auto accepted = client.link->stats().messages_accepted - before[i];
        const auto& name = client.peer->link->name;
        model_.require(accepted <= (result ? 1 : 0), "client {}: a broadcast is {} messages", name,
                       accepted);
        client.accepted += accepted;
        reached += accepted;
        if (accepted != 0)
            continue;
        {
            const Noting noting{mutex_};
            client.pushed.erase(number);
        }
        model_.require(!result || step.c == 1 || step.c == 2 || client.is_closing
                           || !client.link->is_up() || is_stopping_,
                       "client {} is up, and was left out", name);
    }
    // One that came meanwhile may have got it too
    if (result && drops_oldest())
        model_.require(*result >= reached, "a broadcast reached {} clients, it says {}", reached,
                       *result);
}

void ServerApplication::send(const Step& step)
{
    auto* const client = one_of(step);
    if (!client)
        return;
    const auto text = make_text(step);
    const auto number = text_count_;
    {
        const Noting noting{mutex_};
        client->pushed.insert(number); // it may go out at once
    }
    const bool expires = step.c % 3 == 1;
    const auto result =
        client->link->send(text, {.expires_after = expires ? milliseconds(20) : Duration::max()});
    client->accepted += result ? 1 : 0;
    model_.require(!(result == Error::full) || !drops_oldest(),
                   "client {}: full, and the policy drops the oldest", client->peer->link->name);
    const Noting noting{mutex_};
    if (!result)
        client->pushed.erase(number);
}

void ServerApplication::close(const Step& step)
{
    auto* const client = one_of(step);
    if (!client)
        return;
    client->is_closing = true;
    (void)client->link->close(milliseconds(step.a));
}

void ServerApplication::close_listener(int timeout)
{
    auto listener = server_->listener();
    if (!listener || !is_running_)
        return;
    is_listening_ = false;
    for (auto& client : clients_)
        client->is_closing = true;
    const auto began = now();
    const auto closed = listener->close(milliseconds(timeout));
    model_.require(now() - began <= milliseconds(timeout + 41),
                   "the listener's close took {:.3f} s", seconds(now() - began));
    model_.require(!closed || listener->client_count() == 0, "{} clients of a closed listener",
                   listener->client_count());
}

void ServerApplication::join(const Step& step)
{
    auto* const client = one_of(step);
    if (client && step.b == 0)
        (void)client->link->leave("g");
    else if (client)
        (void)client->link->join("g");
}

void ServerApplication::look()
{
    for (auto* client : members())
        check(*client);
    (void)server_->dump();
}

void ServerApplication::sees(const Event& event)
{
    if (event.link == LinkId{} || event.kind == Event::Kind::stopped)
        return;
    note(to_string(event));
    if (event.kind == Event::Kind::up)
        if (auto link = server_->link(event.link))
            (void)find(*link);
    const Noting noting{mutex_};
    if (event.kind == Event::Kind::up) {
        const auto at = std::find_if(clients_.begin(), clients_.end(), [&](const auto& client) {
            return event.client && client->peer->link->name == event.client->peer;
        });
        if (at == clients_.end())
            return model_.complain("\"{}\" of nobody", to_string(event));
        auto& client = **at;
        model_.require(client.phase == Client::coming, "client {} is up twice",
                       client.peer->link->name);
        client.phase = Client::up;
        by_id_[event.link] = &client;
        return;
    }
    const auto at = by_id_.find(event.link);
    if (at == by_id_.end())
        return model_.complain("\"{}\" before its `up`", to_string(event));
    model_.require(at->second->phase == Client::up, "\"{}\" of client {} that is not up",
                   to_string(event), at->second->peer->link->name);
    if (event.kind == Event::Kind::down)
        at->second->phase = Client::gone;
}

bool ServerApplication::next_event(Duration timeout)
{
    const auto event = server_->next_event(timeout);
    if (event)
        sees(*event);
    return event.has_value();
}

void ServerApplication::run_step(const Step& step)
{
    switch (step.verb) {
    case Verb::open: come(step.link); break;
    case Verb::send: broadcast(step); break;
    case Verb::subscribe:
    case Verb::feed_subscribe: send(step); break;
    case Verb::unsubscribe: join(step); break;
    case Verb::flush:
        if (const auto* const client = one_of(step)) {
            auto link = *client->link;
            (void)link.flush(milliseconds(step.a));
        }
        break;
    case Verb::close: close(step); break;
    case Verb::receive:
    case Verb::poll:
    case Verb::next_event: (void)next_event(milliseconds(step.a)); break;
    case Verb::sleep: (void)server_->sleep_for(milliseconds(step.a)); break;
    case Verb::call: {
        const auto on_loop = [](ServerApplication& self, Step its, Context) -> Task<> {
            its.c = 0;
            self.broadcast(its);
            co_return;
        };
        (void)server_->call("broadcast", [&](Context ctx) { return on_loop(*this, step, ctx); });
        break;
    }
    case Verb::look: look(); break;
    case Verb::release:
        if (step.link % 2 == 0)
            close_listener(100);
        break;
    case Verb::request_stop:
        if (!is_running_)
            break;
        is_stopping_ = true;
        server_->request_stop();
        break;
    case Verb::stop:
    case Verb::wait_stopped: stop(); break;
    case Verb::start: start(); break;
    default: come(step.link); break;
    }
}

// --- the end

/// The network is good: each client that is up gets the last broadcast, and learns of all its gaps.
void ServerApplication::rest()
{
    if (!is_running_ || is_stopping_ || !is_listening_)
        return;
    const auto be_good = [](ServerApplication& self, Context) -> Task<> {
        for (const auto& client : self.clients_)
            client->peer->be_good();
        co_return;
    };
    (void)server_->call("good", [&](Context ctx) { return be_good(*this, ctx); });
    for (int i = 0; i < 20; ++i) {
        while (next_event({})) {
        }
        (void)server_->sleep_for(milliseconds(50));
    }
    broadcast({.verb = Verb::send, .a = 12});
    (void)server_->sleep_for(milliseconds(200));
    while (next_event({})) {
    }
    for (auto* client : members()) {
        check(*client);
        if (client->is_closing || !client->link->is_up() || world_.links.front().rate_messages)
            continue;
        const auto& name = client->peer->link->name;
        const auto stats = client->link->stats();
        const auto dump = server_->dump();
        const Noting noting{mutex_};
        model_.require(client->phase == Client::up, "client {} is up without an `up`", name);
        model_.require(stats.outbox_messages == 0, "client {} is up and does not send: {}", name,
                       dump);
        model_.require(client->written.contains(text_count_),
                       "client {} did not get the last broadcast", name);
        model_.require(!world_.tells_gaps || client->gaps == stats.unsent_dropped,
                       "client {}: {} dropped, its gaps say {}", name, stats.unsent_dropped,
                       client->gaps);
    }
}

void ServerApplication::stop()
{
    if (!is_running_)
        return;
    look();
    is_stopping_ = true;
    const auto report = server_->stop();
    note(to_line(report));
    is_running_ = is_stopping_ = is_listening_ = false;
    if (!model_.stop_ended(report)) {
        is_lost_ = true;
        return;
    }
    while (next_event({})) {
    }
    const auto stats = server_->stats();
    model_.require(stats.clients == 0, "{} clients after the stop", stats.clients);
    model_.require(stats.messages_accepted == stats.messages_sent + report.unsent_messages
                       && stats.unsent == report.unsent_messages,
                   "accepted {}, sent {}, unsent {}; the report says {}", stats.messages_accepted,
                   stats.messages_sent, stats.unsent, report.unsent_messages);
    model_.require(report.clients_closed + report.clients_cut <= stats.clients_accepted,
                   "{} clients closed, {} cut, of {}", report.clients_closed, report.clients_cut,
                   stats.clients_accepted);
    const Noting noting{mutex_};
    by_id_.clear();
}

void ServerApplication::run()
{
    start();
    come(0);
    for (const auto& step : world_.steps)
        if (!is_lost_ && !model_.has_complaint())
            run_step(step);
    if (is_lost_ || model_.has_complaint())
        return;
    if (world_.quiet)
        rest();
    stop();
    if (!is_lost_)
        model_.require(server_->broadcast("x") == Error::stopped, "a broadcast after the stop");
}

} // namespace simulation
