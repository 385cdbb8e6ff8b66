#include <sidecar/check_transport.hpp>

#include "driver.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

namespace sidecar {

using namespace std::chrono_literals;

TransportPeer::~TransportPeer() = default;

namespace {

/// By number; docs/conformance.md explains each.
constexpr std::array<std::string_view, TransportReport::rule_count + 1> rules{
    "the peer of the test works",
    "connect() returns once the peer has accepted",
    "connect() throws if the peer refuses",
    "the static members and connection_info() answer, and agree with the transport",
    "read() puts each message once, in order, unchanged and whole",
    "read() does not wait after a put",
    "after a refused put read() returns, and the next one puts that message again, once",
    "the sink is used on the loop's thread, while a read() runs",
    "a message of max_message_bytes arrives, and a larger one fails the read()",
    "the memory of receive_buffer() and prepare() is used as sink.hpp says",
    "write() delivers each message once, in order and unchanged",
    "no message of a batch is read after mark_written() or after the write() has ended",
    "mark_written() counts the messages that the system has taken, and no others",
    "ping() returns once the ping is written, and Sink::on_pong() gets its payload",
    "close() returns once the peer has answered, and nothing is written after its begin",
    "if the peer ends the connection, reads and writes end with an exception",
    "abort() never waits, in any state, and everything ends soon after it",
    "a cancelled call ends soon",
    "an exception names a reason",
    "the transport neither holds the thread nor runs for nothing",
    "nothing is left after the end: coroutines, timers, handlers, descriptors, threads, memory",
};

/// A violation of the first rule follows from one of the second, if that is broken too.
constexpr std::pair<int, int> consequences[] = {{6, 4},   {8, 4},   {9, 4}, {11, 10},
                                                {12, 10}, {14, 10}, {7, 5}, {13, 4}};

} // namespace

bool TransportReport::has_broken(int rule) const noexcept
{
    return std::any_of(broken.begin(), broken.end(),
                       [=](const auto& each) { return each.rule == rule; });
}

bool TransportReport::has_skipped(int rule) const noexcept
{
    return std::any_of(skipped.begin(), skipped.end(),
                       [=](const auto& each) { return each.rule == rule; });
}

std::size_t TransportReport::trials_of(int rule) const noexcept
{
    const auto index = static_cast<std::size_t>(rule);
    return index < trials.size() ? trials[index] : 0;
}

std::string_view TransportReport::rule_text(int rule) noexcept
{
    return rule < 0 || rule > rule_count ? "" : rules[static_cast<std::size_t>(rule)];
}

std::string TransportReport::text() const
{
    std::size_t count = 0;
    for (const auto each : trials)
        count += each;
    std::string text =
        fmt::format("{} trials; broken: {}; skipped: {}\n", count, broken.size(), skipped.size());
    for (const auto& each : broken) {
        text += fmt::format("rule {} is broken: {}\n  seen: {}\n  repeat: TransportCheck{{.only = "
                            "\"{}\"}}\n",
                            each.rule, rule_text(each.rule), each.saw, each.trial);
        for (std::size_t at = 0; at < each.steps.size();) {
            const auto end = std::min(each.steps.find('\n', at), each.steps.size());
            text += fmt::format("    {}\n", std::string_view{each.steps}.substr(at, end - at));
            at = end + 1;
        }
    }
    for (const auto& each : skipped)
        text += fmt::format("rule {} is not checked in all ways: {}\n", each.rule, each.why);
    return text;
}

namespace conformance {
namespace {

/// Objects of trials whose calls never ended. They stay reachable, since a coroutine that waits for
/// ever refers to them; nothing runs them.
void leave_behind(std::unique_ptr<Driver> driver)
{
    static std::mutex mutex;
    static auto* const all = new std::vector<std::unique_ptr<Driver>>;
    std::lock_guard lock{mutex};
    all->push_back(std::move(driver));
}

/// The check of one transport. The kit's thread and the caller's share it.
class Check final : public Trials {
public:
    Check(std::function<detail::CheckSubject()> make, const TransportCheck& options)
        : make_{std::move(make)}, options_{options}
    {
        report_.trials.resize(TransportReport::rule_count + 1);
    }

    // --- the kit's thread
    void run_all() noexcept;
    bool run(const Trial& trial) override;
    void report(int rule, const std::string& name, const std::string& saw) override
    {
        add({.rule = rule, .trial = name, .saw = saw});
    }
    void skip(int rule, std::string why) override;
    [[nodiscard]] const TransportCheck& options() const noexcept override { return options_; }

    // --- the caller's thread
    /// Waits until the check is over, or the transport holds the kit's thread.
    [[nodiscard]] TransportReport wait();
    [[nodiscard]] bool is_abandoned() const noexcept { return progress_.is_abandoned; }

private:
    void run_with(const Trial& trial, Driver& driver);
    [[nodiscard]] std::ptrdiff_t broken_count(int rule) const;
    void add(TransportReport::Broken broken);

    /// A rule is reported by its first trials, and a transport by its first failures.
    static constexpr std::ptrdiff_t max_shown = 3;
    static constexpr unsigned max_failures = 20;
    static constexpr const char* time_is_over = "the time of the check was over";

    const std::function<detail::CheckSubject()> make_;         // sidecar side
    const TransportCheck options_;                             // both: constant
    const TimePoint began_ = std::chrono::steady_clock::now(); // both: constant
    Progress progress_;                                        // both: atomic
    std::mutex mutex_;
    std::condition_variable changed_;
    TransportReport report_;        // both: guarded by mutex_
    std::set<std::string> skipped_; // both: guarded by mutex_
    std::string trial_;             // both: guarded by mutex_; the present one
    int rule_ = 0;                  // both: guarded by mutex_
    bool is_over_ = false;          // both: guarded by mutex_
    unsigned failures_ = 0;         // both: guarded by mutex_
    bool has_failed_ = false;       // sidecar side; in the present trial
    bool has_run_ = false;          // sidecar side; a trial
};

std::ptrdiff_t Check::broken_count(int rule) const
{
    return std::count_if(report_.broken.begin(), report_.broken.end(),
                         [&](const auto& each) { return each.rule == rule; });
}

void Check::add(TransportReport::Broken broken)
{
    std::lock_guard lock{mutex_};
    has_failed_ = true;
    ++failures_;
    for (const auto& [rule, cause] : consequences)
        if (broken.rule == rule && report_.has_broken(cause))
            broken.rule = cause;
    if (broken_count(broken.rule) < max_shown)
        report_.broken.push_back(std::move(broken));
}

void Check::skip(int rule, std::string why)
{
    std::lock_guard lock{mutex_};
    if (skipped_.insert(fmt::format("{} {}", rule, why)).second)
        report_.skipped.push_back({rule, std::move(why)});
}

bool Check::run(const Trial& trial)
{
    if (!options_.only.empty() && trial.name != options_.only)
        return true; // the next resumption of the same moment may be the one
    if (progress_.is_abandoned)
        throw Abandoned{};
    if (std::chrono::steady_clock::now() - began_ > options_.total) {
        skip(trial.rule, time_is_over);
        return false;
    }
    {
        std::lock_guard lock{mutex_};
        // A transport that runs for nothing costs much time in each trial
        if (failures_ >= max_failures || report_.has_broken(19)
            || broken_count(trial.rule) >= max_shown)
            return false;
        trial_ = trial.name;
        rule_ = trial.rule;
        ++report_.trials[static_cast<std::size_t>(trial.rule)];
    }
    has_failed_ = false;
    has_run_ = true;
    progress_.operation = "the peer";
    std::unique_ptr<Driver> driver;
    try {
        driver = std::make_unique<Driver>(make_(), options_, progress_);
        run_with(trial, *driver);
    } catch (const Abandoned&) {
        throw;
    } catch (...) {
        add({.rule = 0,
             .trial = trial.name,
             .saw =
                 "the peer, or the transport's constructor, threw: "
                 + to_failure(std::current_exception(), Error::callback_failed, {}, {}).message()});
    }
    if (driver && has_failed_ && !driver->end_all())
        leave_behind(std::move(driver));
    progress_.operation = "the peer";
    driver.reset();
    return !has_failed_;
}

void Check::run_with(const Trial& trial, Driver& driver)
{
    try {
        driver.note(fmt::format("trial \"{}\"", trial.name));
        trial.run(driver);
    } catch (const RuleBroken& broken) {
        add({.rule = broken.rule, .trial = trial.name, .saw = broken.saw, .steps = driver.steps()});
    } catch (const TrialSkipped& skipped) {
        skip(skipped.rule != 0 ? skipped.rule : trial.rule, skipped.why);
        std::lock_guard lock{mutex_};
        --report_.trials[static_cast<std::size_t>(trial.rule)];
        has_failed_ = true; // the family ends; its connection is ended below
    }
}

void Check::run_all() noexcept
{
    try {
        if (run({1, "connect", [](Driver& d) {
                     d.connect();
                     d.finish();
                 }})) {
            run_read_trials(*this);
            run_write_trials(*this);
            run_end_trials(*this);
            run_random_trials(*this);
            run_leak_trials(*this);
        } else {
            const bool has_failed = !report_.broken.empty();
            for (int rule = 2; rule <= TransportReport::rule_count; ++rule)
                skip(rule, has_failed ? "the first connection failed" : time_is_over);
        }
        if (!has_run_ && !options_.only.empty())
            add({.rule = 0, .trial = options_.only, .saw = "no trial has this name"});
    } catch (...) { // left behind
    }
    std::lock_guard lock{mutex_};
    is_over_ = true;
    changed_.notify_all();
}

TransportReport Check::wait()
{
    std::unique_lock lock{mutex_};
    auto turns = progress_.turns.load();
    for (auto since = std::chrono::steady_clock::now(); !is_over_;) {
        changed_.wait_for(lock, 50ms);
        const auto now = std::chrono::steady_clock::now();
        if (std::exchange(turns, progress_.turns.load()) != turns)
            since = now;
        if (is_over_ || now - since < std::max<Duration>(options_.timeout, 1s))
            continue;
        progress_.is_abandoned = true;
        report_.broken.push_back(
            {.rule = 19,
             .trial = trial_,
             .saw = fmt::format(
                 "{} holds the thread for more than {} ms; the check ends here",
                 progress_.operation.load(),
                 std::chrono::duration_cast<std::chrono::milliseconds>(now - since).count())});
        break;
    }
    return report_;
}

} // namespace
} // namespace conformance

TransportReport detail::check_transport(std::function<CheckSubject()> make,
                                        const TransportCheck& options)
{
    const auto check = std::make_shared<conformance::Check>(std::move(make), options);
    std::thread thread{[check] { check->run_all(); }};
    auto report = check->wait();
    check->is_abandoned() ? thread.detach() : thread.join();
    return report;
}

} // namespace sidecar
