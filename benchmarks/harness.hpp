// What every measurement shares: the job, the processes, the meter on the application's thread, the
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
using Clock = std::chrono::steady_clock; // CLOCK_MONOTONIC, the same in all processes of a host

enum class Protocol { websocket, tcp, none };

/// What the load generator does with each connection.
enum class Role {
    flood, // writes messages as fast as they are taken
    sink,  // takes `count` messages, then answers with one
    echo,  // answers each message with itself
    // Writes `count` messages at `rate`, each with the time it was written in its first eight bytes
    paced,
    idle,  // one message, silence for `seconds`, one message
    cycle, // shakes hands and says goodbye, again and again
    // As `bursts` on `links` connections at once, once all are there and the client has written a
    // byte
    links,
};

/// What the messages hold. JSON and half Chinese (every second run of six characters) are text, and
/// so go as text where the protocol knows it.
enum class Content { letters, json, half_cjk };

/// One measurement, as told to both of its processes.
struct Job {
    Protocol protocol = Protocol::websocket;
    Role role = Role::flood;
    std::size_t payload_bytes = 64;
    Content content = Content::letters;
    bool is_compressed = false;     // by permessage-deflate; no message is like the one before it
    std::size_t fragment_bytes = 0; // of the generator's messages; zero: they are in one piece
    std::uint64_t count = 0;
    std::uint64_t rate = 0;
    std::uint64_t links = 1;
    double seconds = 1;
    /// Messages that are taken in, instead of `seconds`: for whoever counts instructions. Zero: none.
    std::uint64_t exactly = 0;
    bool is_secure = false;       // by TLS; see tls.hpp
    bool has_own_records = false; // each of the generator's messages is a TLS record
    std::uint16_t port = 0;       // where the generator listens

    [[nodiscard]] std::string url() const;
};

/// What a client process found out; one line of output each.
class Samples {
public:
    void add(std::string_view metric, double value) { values_.emplace_back(metric, value); }
    [[nodiscard]] const auto& values() const noexcept { return values_; }

private:
    std::vector<std::pair<std::string, double>> values_;
};

using Measure = std::function<void(const Job&, Samples&)>;
/// Serves a job until its client has gone; tells the port it listens on.
using Serve = std::function<void(const Job&, const std::function<void(std::uint16_t)>& listening)>;

struct Entry {
    std::string case_name;
    std::string competitor;
    Measure measure;
    Serve serve; // empty: no generator
};

/// All entries, in the order of registration.
std::vector<Entry>& registry();

/// Runs one measurement in two processes of its own, so that nothing of one competitor is left when
/// the next runs; but the client of a job with `exactly` in this one. Throws what the client threw, or
/// that it took too long.
Samples run(const Entry& entry, const Job& job);

/// Processor time and context switches of this process, all its threads.
struct Usage {
    double cpu_seconds = 0;
    std::int64_t voluntary_switches = 0;
    [[nodiscard]] static Usage now();
};
[[nodiscard]] std::size_t resident_bytes();

/// How much more memory was resident at some time than when this was made.
class PeakMemory {
public:
    PeakMemory();
    [[nodiscard]] std::size_t bytes() const;

private:
    std::size_t before_;
};

/// As far as allowed; gives the limit.
std::size_t raise_descriptor_limit();

/// The payload of every message of a job: the same bytes, so that a sum tells whether all came
/// whole.
[[nodiscard]] std::string payload_of(const Job& job);
/// Makes another message of it with the same sum: as much is new in it as in that of a feed.
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
/// seconds; or exactly so many.
class Meter {
public:
    explicit Meter(const Job& job);
    /// False once the time is over, or all have come.
    bool take(Bytes message)
    {
        sum_ += checksum(message);
        return (++count_ & mask_) != 0 || tick();
    }
    /// Rate, and the process's time per message. Throws if a message was not what was sent.
    void report(Samples& samples) const;

private:
    bool tick();

    const std::uint64_t expected_sum_, mask_, exactly_;
    const Clock::duration warm_up_, length_;
    std::uint64_t sum_ = 0, count_ = 0, first_ = 0;
    Clock::time_point began_ = Clock::now(), measured_from_{}, measured_to_{};
    Usage usage_from_{}, usage_to_{};
};

/// Times in buckets of less than two percent, from a nanosecond to a minute, as HdrHistogram has
/// them.
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
