// World: all that one run of the simulation consists of, as plain numbers, so that it can be drawn
// from a seed, printed, read again and made smaller.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace simulation {

/// One link and its peer. Times are in milliseconds, rates in percent. The initial values are the
/// plain case, towards which a failing world is made smaller.
struct LinkPlan {
    // options of the link
    int reconnect = 0, at_start = 0, keep = 0;
    int window = 100, max_window = 1'000, stable_after = 0, busy_delay = 0, max_attempts = 0;
    int max_outage = 0, connect_timeout = 1'000;
    int retry_if = 0; ///< 1: always, 2: not the third time, 3: throws the third time
    int prepares = 0; ///< on_connected: 0 none, then the enumerators of Preparation
    int prepares_for = 0, prepare_timeout = 10'000;
    int subscriptions = 0;
    int acks = 0; ///< 1: each knows its answer, 2: throws, 3: takes any answer
    int ack_timeout = 10'000;
    int policy = 0, queue_messages = 0, queue_bytes = 0, max_age = 0, high = 0, low = 0;
    int ping_interval = 0, ping_timeout = 500, idle_timeout = 0, drops_idle = 0;
    int heartbeat = 0; ///< 1: answers are hidden, 2: kept, 3: is_answer throws
    int rate_messages = 0, rate_bytes = 0, rate_per = 1'000, rate_burst = 0;
    int outbox_bytes = 0, outbox_messages = 0, max_message = 4'096;
    // the peer
    int period = 0, burst = 1, size = 32, total = 20;
    int answers = 100, answer_delay = 0, echoes = 0;
    int connect_delay = 0, refuses = 0;
    int life = 0; ///< of a connection, at most; 0: it lasts
    int end = 0;  ///< 0: end of file, 1: close 1000, 2: close 1012, 3: silence for ever
    int write_delay = 0, message_delay = 0, write_fails = 0, marks = 1;
    int read_limit = 0, read_style = 0;
    int pong_delay = 0, close_delay = 0; ///< -1: never
    int ping_fails = 0;
};

enum Preparation {
    no_preparation,
    logs_in,
    only_waits,
    takes_some,
    passes_on,
    sometimes_throws,
    sometimes_refuses,
    preparations
};

enum class Verb {
    receive,
    poll,
    next_event,
    send,
    flush,
    open,
    close,
    subscribe,
    unsubscribe,
    feed_subscribe,
    feed_unsubscribe,
    spawn,
    call,
    sleep,
    look,
    handle,
    release,
    move,
    wait_started,
    request_stop,
    stop_on_loop,
    stop,
    wait_stopped,
    start,
};
inline constexpr int verb_count = static_cast<int>(Verb::start) + 1;

/// One call of the application. The meaning of a, b and c depends on the verb.
struct Step {
    Verb verb = Verb::look;
    int thread = 0, link = 0, a = 0, b = 0, c = 0;
    friend bool operator==(const Step&, const Step&) = default;
};

struct World {
    std::uint64_t seed = 0; ///< of what is drawn while it runs
    int interleaving = 1;   ///< 0: the loop runs until nothing can happen
    int threads = 1;
    int inbox_bytes = 0, inbox_messages = 0;
    int stop_total = 2'000, stop_drain = 500, stop_close = 1'000, stop_cancel = 250;
    int reader = 0; ///< 0: next_event, 1: receive and poll, 2: all of them
    int background = 0, start_timeout = 5'000;
    int log_throws = 0;
    int quiet = 1;  ///< whether a quiet time comes before the end
    int serves = 0; ///< 1: a server, whose clients have the plans of the links
    // of a server
    int client_policy = 1, client_messages = 0, client_bytes = 0, fail_after = 5'000;
    int tells_gaps = 0, handshake_timeout = 1'000;
    std::vector<LinkPlan> links{};
    std::vector<Step> steps{};
};

[[nodiscard]] World draw(std::uint64_t seed);
[[nodiscard]] std::string to_text(const World& world);
/// Reads what to_text() wrote. Throws std::runtime_error.
[[nodiscard]] World from_text(std::string_view text);

/// All smaller worlds that differ from this one in one place: fewer links, steps, and options that
/// are not plain.
[[nodiscard]] std::vector<World> smaller(const World& world, std::size_t chunk);

/// A generator of small state: the same seed gives the same numbers, everywhere.
class Random {
public:
    explicit Random(std::uint64_t seed) noexcept : state_{seed} {}
    std::uint64_t next() noexcept
    {
        state_ += 0x9e3779b97f4a7c15;
        auto z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    /// From 0 to `count` - 1.
    int below(int count) noexcept
    {
        return static_cast<int>(next() % static_cast<std::uint64_t>(count));
    }
    bool percent(int rate) noexcept { return rate > 0 && below(100) < rate; }

private:
    std::uint64_t state_;
};

} // namespace simulation
