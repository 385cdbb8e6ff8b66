#include "simulation/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <stdexcept>

namespace simulation {
namespace {

/// A field, and the values that are drawn for it.
template <class T>
struct Field {
    std::string_view name;
    int T::*member;
    std::vector<int> values;
};

const std::vector<Field<World>> world_fields{
    {"interleaving", &World::interleaving, {}}, // drawn apart
    {"threads", &World::threads, {2}},
    {"inbox_bytes", &World::inbox_bytes, {16'384, 20'000, 65'536}},
    {"inbox_messages", &World::inbox_messages, {1, 2, 5, 30}},
    {"stop_total", &World::stop_total, {1'000, 10'000}},
    {"stop_drain", &World::stop_drain, {0, 5, 3'000}},
    {"stop_close", &World::stop_close, {0, 5, 3'000}},
    {"stop_cancel", &World::stop_cancel, {0, 5, 1'000}},
    {"reader", &World::reader, {1, 1, 2}},
    {"background", &World::background, {1}},
    {"start_timeout", &World::start_timeout, {0, 30, 1'000, 100'000}},
    {"log_throws", &World::log_throws, {1}},
    {"quiet", &World::quiet, {0}},
    {"serves", &World::serves, {}}, // drawn apart, like those below
    {"client_policy", &World::client_policy, {}},
    {"client_messages", &World::client_messages, {}},
    {"client_bytes", &World::client_bytes, {}},
    {"fail_after", &World::fail_after, {}},
    {"tells_gaps", &World::tells_gaps, {}},
    {"handshake_timeout", &World::handshake_timeout, {}},
};

const std::vector<Field<LinkPlan>> link_fields{
    {"reconnect", &LinkPlan::reconnect, {1, 1, 1}},
    {"at_start", &LinkPlan::at_start, {1}},
    {"keep", &LinkPlan::keep, {1}},
    {"window", &LinkPlan::window, {1, 10, 3'000}},
    {"max_window", &LinkPlan::max_window, {1, 100, 30'000}},
    {"stable_after", &LinkPlan::stable_after, {1, 500, 20'000}},
    {"busy_delay", &LinkPlan::busy_delay, {100, 5'000}},
    {"max_attempts", &LinkPlan::max_attempts, {1, 2, 5}},
    {"max_outage", &LinkPlan::max_outage, {1, 500, 5'000}},
    {"connect_timeout", &LinkPlan::connect_timeout, {1, 30, 10'000}},
    {"retry_if", &LinkPlan::retry_if, {1, 2, 3}},
    {"prepares", &LinkPlan::prepares, {1, 2, 3, 4, 5, 6}},
    {"prepares_for", &LinkPlan::prepares_for, {1, 20, 300}},
    {"prepare_timeout", &LinkPlan::prepare_timeout, {1, 50, 1'000}},
    {"subscriptions", &LinkPlan::subscriptions, {1, 2, 5}},
    {"acks", &LinkPlan::acks, {1, 1, 2, 3, 3}},
    {"ack_timeout", &LinkPlan::ack_timeout, {1, 10, 300}},
    {"policy", &LinkPlan::policy, {1, 2, 3, 4}},
    {"queue_messages", &LinkPlan::queue_messages, {1, 2, 8}},
    {"queue_bytes", &LinkPlan::queue_bytes, {5'000, 16'384}},
    {"max_age", &LinkPlan::max_age, {1, 20, 500}},
    {"high", &LinkPlan::high, {1, 3, 6}},
    {"low", &LinkPlan::low, {1, 2}},
    {"ping_interval", &LinkPlan::ping_interval, {1, 50, 1'000}},
    {"ping_timeout", &LinkPlan::ping_timeout, {1, 50, 5'000}},
    {"idle_timeout", &LinkPlan::idle_timeout, {5, 100, 2'000}},
    {"drops_idle", &LinkPlan::drops_idle, {1}},
    {"heartbeat", &LinkPlan::heartbeat, {1, 2, 3}},
    {"rate_messages", &LinkPlan::rate_messages, {1, 3, 10}},
    {"rate_bytes", &LinkPlan::rate_bytes, {100, 2'000}},
    {"rate_per", &LinkPlan::rate_per, {10, 100}},
    {"rate_burst", &LinkPlan::rate_burst, {1, 5}},
    {"outbox_bytes", &LinkPlan::outbox_bytes, {4'096, 5'000, 16'384}},
    {"outbox_messages", &LinkPlan::outbox_messages, {1, 2, 7}},
    {"max_message", &LinkPlan::max_message, {64, 256, 1'024, 60'000}},
    {"period", &LinkPlan::period, {1, 1, 5, 5, 40, 40, 300}},
    {"burst", &LinkPlan::burst, {2, 5, 20}},
    {"size", &LinkPlan::size, {0, 12, 120, 1'000, 4'096, -1, -1}},
    {"total", &LinkPlan::total, {3, 60}},
    {"answers", &LinkPlan::answers, {0, 50}},
    {"answer_delay", &LinkPlan::answer_delay, {1, 20, 400}},
    {"echoes", &LinkPlan::echoes, {50, 100}},
    {"connect_delay", &LinkPlan::connect_delay, {1, 20, 2'000}},
    {"refuses", &LinkPlan::refuses, {20, 60}},
    {"life", &LinkPlan::life, {5, 30, 100, 1'000}},
    {"end", &LinkPlan::end, {1, 2, 3}},
    {"write_delay", &LinkPlan::write_delay, {1, 10, 200, -1}},
    {"message_delay", &LinkPlan::message_delay, {1, 5}},
    {"write_fails", &LinkPlan::write_fails, {2, 20}},
    {"marks", &LinkPlan::marks, {0}},
    {"read_limit", &LinkPlan::read_limit, {1, 2, 5}},
    {"read_style", &LinkPlan::read_style, {1, 2, 3}},
    {"pong_delay", &LinkPlan::pong_delay, {1, 30, 600, -1}},
    {"ping_fails", &LinkPlan::ping_fails, {5, 50}},
    {"close_delay", &LinkPlan::close_delay, {1, 30, 600, -1}},
};

/// A verb, how often it is drawn, and the values of its a, b and c.
struct VerbRow {
    std::string_view name;
    int weight;
    std::vector<int> a, b, c;
};

const std::vector<int> waits{0, 0, 1, 10, 50, 300, 2'000};
const std::vector<VerbRow> verbs{
    {"receive", 12, waits, {}, {}},
    {"poll", 6, {1, 2, 100}, {0, 0, 0, 1, 2, 3, 4, 5}, {}},
    {"next_event", 25, waits, {}, {}},
    // c: 1 bound, 2 to a connection that is gone, 4 expires, 8 high priority, 16 binary
    {"send",
     25,
     {0, 12, 12, 40, 96, 200, 1'000, 4'000, 9'000},
     {0, 0, 0, 5, 100},
     {0, 0, 0, 0, 1, 1, 2, 4, 4, 5, 8, 8, 9, 12, 16}},
    {"flush", 5, waits, {}, {}},
    {"open", 3, {0, 10, 1'000, 5'000}, {}, {}},
    {"close", 2, {0, 10, 1'000}, {0, 0, 1, 2}, {}},
    {"subscribe", 3, {0, 1, 2, 3}, {0, 1, 2}, {0, 1}},
    {"unsubscribe", 2, {0, 1, 2, 3}, {0, 1, 2}, {}},
    {"feed_subscribe", 1, {0, 1, 2, 3}, {0, 1, 2}, {0, 1}},
    {"feed_unsubscribe", 1, {0, 1, 2, 3}, {0, 1, 2}, {}},
    {"spawn", 1, {0, 1, 2, 3, 4}, {0, 10, 500}, {}},
    {"call", 2, {0, 1, 2, 3}, {0, 10, 500}, {0, 5, 1'000}},
    {"sleep", 8, {0, 1, 5, 30, 300, 1'000}, {}, {}},
    {"look", 3, {0, 1, 2}, {}, {}},
    {"handle", 3, {}, {}, {}},
    {"release", 1, {}, {}, {}},
    {"move", 1, {}, {}, {}},
    {"wait_started", 1, {0, 10, 1'000}, {}, {}},
    {"request_stop", 1, {}, {}, {}},
    {"stop_on_loop", 1, {0, 1, 20}, {0, 1}, {}},
    {"stop", 1, {0, 0, 1, 2}, {}, {}},
    {"wait_stopped", 1, {0, 10, 1'000}, {}, {}},
    {"start", 2, {0, 10, 1'000, 5'000}, {0, 0, 1}, {}},
};

int one_of(Random& random, const std::vector<int>& values)
{
    return values.empty()
               ? 0
               : values[static_cast<std::size_t>(random.below(static_cast<int>(values.size())))];
}

template <class T>
void draw_fields(T& plan, const std::vector<Field<T>>& fields, Random& random, int rate)
{
    for (const auto& field : fields)
        if (!field.values.empty() && random.percent(rate))
            plan.*field.member = one_of(random, field.values);
}

Step draw_step(const World& world, Random& random)
{
    int sum = 0;
    for (const auto& row : verbs)
        sum += row.weight;
    int chosen = random.below(sum);
    std::size_t verb = 0;
    while (chosen >= verbs[verb].weight)
        chosen -= verbs[verb++].weight;
    const auto& row = verbs[verb];
    Step step{.verb = static_cast<Verb>(verb),
              .thread = world.threads == 2 ? random.below(2) : 0,
              .link = random.below(static_cast<int>(world.links.size())),
              .a = one_of(random, row.a),
              .b = one_of(random, row.b),
              .c = one_of(random, row.c)};
    if (step.verb >= Verb::release || step.verb == Verb::open) // those that change what both use
        step.thread = step.verb == Verb::request_stop ? step.thread : 0;
    if (world.reader != 2) {
        const bool takes_events = world.reader == 0;
        if (takes_events && (step.verb == Verb::receive || step.verb == Verb::poll))
            step = {Verb::next_event, step.thread, step.link, step.a};
        else if (!takes_events && step.verb == Verb::next_event)
            step.verb = Verb::receive;
    }
    return step;
}

/// Options that meet seldom, and break each other.
void draw_theme(World& world, LinkPlan& link, Random& random)
{
    switch (random.below(6)) {
    case 0: // answers that find no room
        link.subscriptions = 2 + random.below(4);
        link.acks = 3;
        link.burst = 5;
        link.period = 1;
        world.inbox_messages = 1 + random.below(3);
        break;
    case 1: // a ping that fails while a write is out
        link.ping_interval = 5;
        link.ping_fails = 50;
        link.write_delay = 10;
        link.message_delay = random.below(2) * 5;
        break;
    case 2: // what on_connected leaves has no room
        link.prepares = only_waits;
        link.prepares_for = 20;
        link.period = 5;
        link.burst = 5;
        link.queue_messages = 2;
        link.policy = random.below(2) * 4;
        break;
    case 3: // orders, kept over many connections
        link.reconnect = link.keep = 1;
        link.life = 20;
        link.message_delay = 5;
        link.outbox_bytes = 4'096;
        break;
    case 4: // many connections, and nobody reads
        link.reconnect = 1;
        link.window = 10;
        link.life = 50;
        link.idle_timeout = 5;
        link.period = 20;
        link.total = 2;
        link.prepares = random.below(2) * only_waits;
        break;
    case 5: // pass_on() finds the queue full
        world.background = 1;
        link.prepares = passes_on;
        link.queue_messages = 3 + random.below(3);
        link.period = random.percent(50) ? 20 : 200;
        link.burst = 6;
        link.total = 60;
        break;
    }
}

/// Many clients, each of which gets what the others get.
void draw_server(World& world, Random& random)
{
    world.serves = world.threads = 1;
    world.client_policy = one_of(random, {1, 2, 3, 4}); // all but pause_reading
    world.client_messages = one_of(random, {0, 1, 2, 3, 5, 10});
    world.client_bytes = one_of(random, {0, 4'096, 4'096, 16'384});
    world.fail_after = one_of(random, {0, 20, 1'000, 5'000});
    world.tells_gaps = random.below(2);
    world.handshake_timeout = one_of(random, {30, 1'000});
    if (random.percent(70))
        world.links.front().rate_messages = 0;
    while (world.links.size() < 3) {
        auto& link = world.links.emplace_back();
        draw_fields(link, link_fields, random, 25);
    }
    for (auto& link : world.links)
        if (random.percent(40)) // slow, or reads nothing
            link.write_delay = one_of(random, {10, 200, 1'000, -1});
    // What a client's calls are drawn for becomes more of what a server does
    for (auto& step : world.steps) {
        step.link = random.below(static_cast<int>(world.links.size()));
        if (random.percent(40))
            step = {Verb::send,      0,
                    step.link,       one_of(random, {12, 12, 40, 200, 1'000, 4'000, 9'000}),
                    random.below(3), one_of(random, {0, 0, 0, 0, 1, 2, 4, 8})};
    }
    const auto count = world.steps.size();
    for (std::size_t i = 0; i < count; ++i) // bursts
        if (world.steps[i].verb == Verb::send && random.percent(30))
            world.steps.insert(world.steps.begin() + static_cast<std::ptrdiff_t>(i), 4,
                               world.steps[i]);
}

template <class T>
void append_fields(std::string& text, const T& plan, const std::vector<Field<T>>& fields)
{
    static const T plain{};
    for (const auto& field : fields)
        if (plan.*field.member != plain.*field.member)
            text += fmt::format(" {}={}", field.name, plan.*field.member);
    text += '\n';
}

int number(std::string_view text)
{
    int value = 0;
    const auto end = text.data() + text.size();
    if (const auto read = std::from_chars(text.data(), end, value); read.ptr != end)
        throw std::runtime_error{fmt::format("\"{}\" is no number", text)};
    return value;
}

std::string_view next_word(std::string_view& line)
{
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const auto word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size());
    return word;
}

template <class T>
void read_fields(T& plan, std::string_view line, const std::vector<Field<T>>& fields)
{
    for (auto word = next_word(line); !word.empty(); word = next_word(line)) {
        const auto equals = std::min(word.find('='), word.size() - 1);
        const auto field = std::find_if(fields.begin(), fields.end(), [&](const auto& each) {
            return each.name == word.substr(0, equals);
        });
        if (field == fields.end())
            throw std::runtime_error{fmt::format("\"{}\" is no field", word)};
        plan.*field->member = number(word.substr(equals + 1));
    }
}

} // namespace

World draw(std::uint64_t seed)
{
    Random random{seed};
    World world;
    world.seed = seed;
    // Few strange options find what one of them breaks; many find what two break together.
    constexpr int rates[] = {3, 10, 25, 45};
    draw_fields(world, world_fields, random, rates[random.below(4)]);
    world.interleaving = random.percent(20) ? 0 : 1 + random.below(1'000'000);
    const int link_count = random.percent(60) ? 1 : 1 + random.below(4);
    for (int i = 0; i < link_count; ++i) {
        auto& link = world.links.emplace_back();
        draw_fields(link, link_fields, random, rates[random.below(4)]);
        if (random.percent(60) && link.period == 0)
            link.period = 10;
        if (random.percent(50))
            link.reconnect = 1;
    }
    if (random.percent(25))
        draw_theme(world, world.links.front(), random);
    const int step_count = 5 + random.below(random.percent(30) ? 80 : 30);
    for (int i = 0; i < step_count; ++i)
        world.steps.push_back(draw_step(world, random));
    if (seed % 5 == 4)
        draw_server(world, random);
    return world;
}

std::string to_text(const World& world)
{
    auto text = fmt::format("world {}", world.seed);
    append_fields(text, world, world_fields);
    for (const auto& link : world.links) {
        text += "link";
        append_fields(text, link, link_fields);
    }
    for (const auto& step : world.steps)
        text += fmt::format("{} {} thread={} link={} a={} b={} c={}\n", "step",
                            verbs[static_cast<std::size_t>(step.verb)].name, step.thread, step.link,
                            step.a, step.b, step.c);
    return text;
}

World from_text(std::string_view text)
{
    static const std::vector<Field<Step>> step_fields{{"thread", &Step::thread, {}},
                                                      {"link", &Step::link, {}},
                                                      {"a", &Step::a, {}},
                                                      {"b", &Step::b, {}},
                                                      {"c", &Step::c, {}}};
    World world;
    while (!text.empty()) {
        auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const auto word = next_word(line);
        if (word.empty() || word.front() == '#')
            continue;
        if (word == "world") {
            const auto seed = next_word(line);
            (void)std::from_chars(seed.data(), seed.data() + seed.size(), world.seed);
            read_fields(world, line, world_fields);
        } else if (word == "link") {
            read_fields(world.links.emplace_back(), line, link_fields);
        } else if (word == "step") {
            const auto name = next_word(line);
            const auto row = std::find_if(verbs.begin(), verbs.end(),
                                          [&](const auto& each) { return each.name == name; });
            if (row == verbs.end())
                throw std::runtime_error{fmt::format("\"{}\" is no step", name)};
            world.steps.push_back({.verb = static_cast<Verb>(row - verbs.begin())});
            read_fields(world.steps.back(), line, step_fields);
        } else {
            throw std::runtime_error{fmt::format("\"{}\" begins no line", word)};
        }
    }
    if (world.links.empty())
        throw std::runtime_error{"a world has a link"};
    return world;
}

std::vector<World> smaller(const World& world, std::size_t chunk)
{
    std::vector<World> all;
    for (std::size_t at = 0; at < world.steps.size(); at += chunk) {
        auto less = world;
        const auto first = less.steps.begin() + static_cast<std::ptrdiff_t>(at);
        const auto count = std::min(chunk, less.steps.size() - at);
        less.steps.erase(first, first + static_cast<std::ptrdiff_t>(count));
        all.push_back(std::move(less));
    }
    if (chunk > 1)
        return all;
    for (std::size_t i = 0; i < world.links.size() && world.links.size() > 1; ++i) {
        auto less = world;
        less.links.erase(less.links.begin() + static_cast<std::ptrdiff_t>(i));
        for (auto& step : less.steps) {
            step.link -= step.link > static_cast<int>(i) ? 1 : 0;
            step.link = std::min(step.link, static_cast<int>(less.links.size()) - 1);
        }
        all.push_back(std::move(less));
    }
    const auto add_plain = [&](auto select, const auto& fields, auto plain) {
        for (const auto& field : fields) {
            if (select(world).*field.member == plain.*field.member)
                continue;
            auto less = world;
            select(less).*field.member = plain.*field.member;
            all.push_back(std::move(less));
        }
    };
    add_plain([](auto& w) -> auto& { return w; }, world_fields, World{});
    for (std::size_t i = 0; i < world.links.size(); ++i)
        add_plain([i](auto& w) -> auto& { return w.links[i]; }, link_fields, LinkPlan{});
    return all;
}

} // namespace simulation
