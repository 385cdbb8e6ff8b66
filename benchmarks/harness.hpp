// Shared by all measurements: the job, the processes, the meter on the application's thread, the
// samples.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

using Bytes = std::span<const std::byte>;
using Clock = std::chrono::steady_clock; // CLOCK_MONOTONIC: the same in all processes of a host

enum class Protocol { websocket, tcp, none };

/// The load generator's part on each connection.
enum class Role {
    flood, // writes messages as fast as the client takes them
    sink,  // takes `count` messages, then answers with one
    echo,  // answers each message with itself
    // Writes `count` messages at `rate`, each with the time of its write in its first eight bytes
    paced,
    idle,  // one message, silence for `seconds`, one message
    cycle, // shakes hands and closes, again and again
    // Writes as `bursts` on `links` connections at once, once all exist and the client has written
    // a byte
    links,
};

/// The content of the messages. JSON and half Chinese (every second run of six characters) are
/// text, and are sent as text if the protocol has that.
enum class Content { letters, json, half_cjk };

/// One measurement; both of its processes receive it.
struct Job {
    Protocol protocol = Protocol::websocket;
    Role role = Role::flood;
    std::size_t payload_bytes = 64;
    Content content = Content::letters;
    bool is_compressed = false; // by permessage-deflate; every message differs from the one before
    std::size_t fragment_bytes = 0; // of the generator's messages; zero: not fragmented
    std::uint64_t count = 0;
    std::uint64_t rate = 0;
    std::uint64_t links = 1;
    double seconds = 1;
    /// Messages to take, instead of `seconds`: for counting instructions. Zero: not used.
    std::uint64_t exactly = 0;
    unsigned hogs = 0;            // other processes that want a core all the time; on any core
    bool is_secure = false;       // by TLS; see tls.hpp
    bool has_own_records = false; // each of the generator's messages is a TLS record
    std::uint16_t port = 0;       // the generator's port

    [[nodiscard]] std::string url() const;
};

/// The results of a client process; one line of output each.
class Samples {
public:
    void add(std::string_view metric, double value) { values_.emplace_back(metric, value); }
    [[nodiscard]] const auto& values() const noexcept { return values_; }

private:
    std::vector<std::pair<std::string, double>> values_;
};

using Measure = std::function<void(const Job&, Samples&)>;
/// Serves a job until its client has gone. Calls `listening` with its port.
using Serve = std::function<void(const Job&, const std::function<void(std::uint16_t)>& listening)>;

struct Entry {
    std::string case_name;
    std::string competitor;
    Measure measure;
    Serve serve; // empty: no generator
};

/// Returns all entries, in the order of registration.
std::vector<Entry>& registry();

/// Runs one measurement in two separate processes, so that no competitor's state remains for the
/// next. The client of a job with `exactly` runs in this process. Throws the client's exception, or
/// one for a run that took too long.
Samples run(const Entry& entry, const Job& job);

/// Processor time and context switches of this process, all its threads.
struct Usage {
    double cpu_seconds = 0;
    std::int64_t voluntary_switches = 0;
    [[nodiscard]] static Usage now();
};
[[nodiscard]] std::size_t resident_bytes();

/// Measures by how much resident memory has exceeded its value at construction.
class PeakMemory {
public:
    PeakMemory();
    [[nodiscard]] std::size_t bytes() const;

private:
    std::size_t before_;
};

/// Raises the limit as far as allowed and returns it.
std::size_t raise_descriptor_limit();

/// Returns the payload of every message of a job: equal bytes, so that a sum shows whether all
/// messages are complete.
[[nodiscard]] std::string payload_of(const Job& job);
/// Makes another message of it with the same sum. As much is new in it as in a feed's next message.
void vary(std::string& payload);
[[nodiscard]] inline Bytes bytes_of(std::string_view text) noexcept
{
    return std::as_bytes(std::span{text.data(), text.size()});
}
[[nodiscard]] inline std::uint64_t checksum(Bytes bytes) noexcept
{
    std::uint64_t sum = 0, word = 0;
    std::size_t at = 0;
    for (; at + sizeof word <= bytes.size(); at += sizeof word) {
        __builtin_memcpy(&word, bytes.data() + at, sizeof word);
        sum += word;
    }
    for (; at < bytes.size(); ++at)
        sum += static_cast<std::uint64_t>(bytes[at]);
    return sum;
}

/// Counts and sums messages on the application's thread, for a warm-up and then for the job's
/// seconds; or for an exact number of messages.
class Meter {
public:
    explicit Meter(const Job& job);
    /// False when the time is over, or all messages are taken.
    bool take(Bytes message)
    {
        sum_ += checksum(message);
        return (++count_ & mask_) != 0 || tick();
    }
    /// Reports the rate and the process's time per message. Throws if a message differs from the
    /// sent one.
    void report(Samples& samples) const;

private:
    bool tick();

    const std::uint64_t expected_sum_, mask_, exactly_;
    const Clock::duration warm_up_, length_;
    std::uint64_t sum_ = 0, count_ = 0, first_ = 0;
    Clock::time_point began_ = Clock::now(), measured_from_{}, measured_to_{};
    Usage usage_from_{}, usage_to_{};
};

/// Counts times in buckets of less than two percent, from a nanosecond to a minute, as HdrHistogram
/// does.
class Histogram {
public:
    void add(Clock::duration time) noexcept;
    [[nodiscard]] double microseconds(double quantile) const;
    void report(Samples& samples) const;

private:
    static constexpr unsigned fine_bits = 6;
    [[nodiscard]] static std::size_t bucket(std::uint64_t value) noexcept;
    std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>((64 - fine_bits) << fine_bits);
    std::uint64_t total_ = 0;
};

} // namespace bench
