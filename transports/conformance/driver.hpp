// Drives one transport and its peer through one trial.
#pragma once

#include "witness.hpp"

#include <sidecar/check_transport.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sidecar::conformance {

/// Ends a trial, since the peer lacks an ability or the transport's protocol cannot do it.
struct TrialSkipped {
    int rule;
    std::string why;
};

/// A connection under test. It makes the calls that the library would make. Each wait is bounded;
/// each violation throws RuleBroken. Side: the kit's thread.
class Driver {
public:
    Driver(detail::CheckSubject subject, const TransportCheck& options, Progress& progress);
    Driver(const Driver&) = delete;
    Driver& operator=(const Driver&) = delete;
    ~Driver();

    [[nodiscard]] TransportPeer& peer() { return *subject_.peer; }
    [[nodiscard]] const detail::LinkConfig& config() const { return *subject_.config; }
    [[nodiscard]] const std::vector<std::shared_ptr<const detail::LinkConfig>>& bad_configs() const
    {
        return subject_.bad;
    }
    [[nodiscard]] Loop& loop() { return loop_; }

    // --- samples
    [[nodiscard]] bool carries(MessageKind kind, const std::string& payload) const;
    /// Makes a message of this size, or else of one that the transport carries. Its text is unlike
    /// that of all others.
    [[nodiscard]] Sample sample(std::size_t bytes);
    [[nodiscard]] std::vector<Sample> samples(std::size_t count, std::size_t bytes);

    // --- the calls of the library
    void start_connect();
    void start_read();
    void start_write(const std::vector<Sample>& messages);
    void start_ping(std::string payload);
    void start_close(CloseReason reason = {});
    void abort();
    void cancel(Operation& operation);
    /// Connects; a failure breaks rule 1.
    void connect();

    // --- waits; `bound`: on the loop's time
    /// Returns whether the condition holds in time.
    [[nodiscard]] bool run_until(const std::function<bool()>& condition, Duration bound);
    /// Runs until nothing happens without a further cause.
    void settle();
    /// Runs until the operation was resumed so often. False: it ended, or waits for something else.
    [[nodiscard]] bool run_to(const Operation& operation, unsigned resumption);
    /// The operation must end in time, or `rule` is broken.
    void expect_end(const Operation& operation, int rule, Duration bound, std::string_view when);
    /// It must also have returned without an exception.
    void expect_success(const Operation& operation, int rule, std::string_view when);
    /// It must have thrown something that names a reason (rule 18).
    void expect_failure(const Operation& operation, int rule, std::string_view when);
    /// Reads on until `messages` arrived, each once, in order and unchanged, and then nothing more.
    void expect_messages(const std::vector<Sample>& messages, int rule);
    /// The peer must get these messages, each once, in order and unchanged, and nothing more.
    void expect_received(const std::vector<Sample>& messages, int rule);
    /// Reads while the transport puts messages, until it waits for the peer.
    void read_all();
    /// Ends the connection as the library does, and checks that everything ends and nothing is
    /// left.
    void finish(int rule = 16);

    [[nodiscard]] Duration timeout() const noexcept { return options_.timeout; }
    [[nodiscard]] Duration soon() const noexcept { return options_.soon; }
    [[nodiscard]] std::string steps() const;
    void note(std::string text);
    /// Throws TrialSkipped unless the peer has the ability.
    static void need(bool has_ability, int rule, const char* ability);
    [[noreturn]] void fail(int rule, std::string saw) { throw RuleBroken{rule, std::move(saw)}; }
    /// Whether all calls ended, so that the objects can be destroyed.
    [[nodiscard]] bool end_all() noexcept;
    [[nodiscard]] std::uint64_t random();
    [[nodiscard]] std::uint64_t random(std::uint64_t below) { return random() % below; }
    void seed(std::uint64_t seed) noexcept { random_ = seed * 2 + 1; }

private:
    void start(Operation& operation, TimePoint deadline, Operation::Call call, std::string note);
    void between_handlers();
    void expect_error(const Operation& operation);
    [[nodiscard]] std::array<Operation*, 5> operations() noexcept
    {
        return {&connecting, &reading, &writing, &pinging, &closing};
    }

    const detail::CheckSubject subject_;                // sidecar side
    const TransportCheck options_;                      // sidecar side
    Loop loop_;                                         // sidecar side
    std::uint64_t samples_ = 0;                         // sidecar side; made so far
    std::size_t usual_bytes_ = 0;                       // sidecar side; a size that it carries
    std::vector<std::size_t> not_carried_;              // sidecar side; sizes that it does not
    std::uint64_t random_ = 1;                          // sidecar side
    std::deque<std::string> steps_;                     // sidecar side; what the kit did
    std::unique_ptr<std::string> ping_payload_;         // sidecar side
    std::deque<std::unique_ptr<WitnessBatch>> batches_; // sidecar side; also those that ended
    std::size_t reads_without_message_ = 0;             // sidecar side; in a row

public:
    Verdict verdict;                        // both
    Operation connecting{loop_, "connect"}; // sidecar side
    Operation reading{loop_, "read"};       // sidecar side
    Operation writing{loop_, "write"};      // sidecar side
    Operation pinging{loop_, "ping"};       // sidecar side
    Operation closing{loop_, "close"};      // sidecar side
    WitnessSink sink;                       // sidecar side
    [[nodiscard]] WitnessBatch& batch() { return *batches_.back(); }

private:
    std::unique_ptr<detail::AnyTransport> transport_; // sidecar side
};

/// A trial: its name repeats it, its rule counts it.
struct Trial {
    int rule;
    std::string name;
    std::function<void(Driver&)> run;
};

/// Runs trials, each with a new connection and a new peer.
class Trials {
public:
    virtual ~Trials() = default;
    /// Returns false if the trial broke a rule, was skipped, or did not run.
    virtual bool run(const Trial& trial) = 0;
    /// Reports a violation that no single trial shows.
    virtual void report(int rule, const std::string& name, const std::string& saw) = 0;
    virtual void skip(int rule, std::string why) = 0;
    [[nodiscard]] virtual const TransportCheck& options() const noexcept = 0;
};

// The families of trials; see docs/conformance.md.
void run_read_trials(Trials& trials);
void run_write_trials(Trials& trials);
void run_end_trials(Trials& trials);
void run_random_trials(Trials& trials);
void run_leak_trials(Trials& trials);

} // namespace sidecar::conformance
