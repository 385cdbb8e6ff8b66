#include "harness.hpp"

#include "tls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <stdexcept>

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench {

using namespace std::chrono_literals;

namespace {

struct Pipe {
    Pipe()
    {
        if (::pipe(ends) != 0)
            throw std::runtime_error{"no pipe"};
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe()
    {
        close_end(0);
        close_end(1);
    }
    void close_end(int end)
    {
        if (ends[end] >= 0)
            ::close(std::exchange(ends[end], -1));
    }
    int ends[2];
};

/// A child process that runs a function and writes its samples into a pipe. It dies with its
/// parent.
class Child {
public:
    explicit Child(const std::function<void(int out)>& body)
    {
        std::fflush(nullptr);
        pid_ = ::fork();
        if (pid_ < 0)
            throw std::runtime_error{"no process"};
        if (pid_ != 0) {
            pipe_.close_end(1);
            return;
        }
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        try {
            body(pipe_.ends[1]);
        } catch (const std::exception& e) {
            const auto text = fmt::format("error {}\n", e.what());
            [[maybe_unused]] const auto n = ::write(pipe_.ends[1], text.data(), text.size());
        }
        ::_exit(0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child()
    {
        ::kill(pid_, SIGKILL); // it has written everything
        ::waitpid(pid_, nullptr, 0);
    }

    /// Returns a line, or the rest at the child's end.
    std::string read_line(Clock::duration patience)
    {
        const auto deadline = Clock::now() + patience;
        for (;;) {
            if (const auto end = text_.find('\n'); end != text_.npos) {
                auto line = text_.substr(0, end);
                text_.erase(0, end + 1);
                return line;
            }
            if (!readable(deadline - Clock::now()))
                throw std::runtime_error{"took too long"};
            char bytes[4096];
            const auto n = ::read(pipe_.ends[0], bytes, sizeof bytes);
            if (n <= 0)
                return std::exchange(text_, {});
            text_.append(bytes, static_cast<std::size_t>(n));
        }
    }

private:
    bool readable(Clock::duration patience)
    {
        pollfd poll_fd{.fd = pipe_.ends[0], .events = POLLIN, .revents = 0};
        const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
        return wait > 0 && ::poll(&poll_fd, 1, static_cast<int>(wait)) > 0;
    }

    Pipe pipe_;
    pid_t pid_ = -1;
    std::string text_;
};

void say(int out, const std::string& text)
{
    if (::write(out, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        throw std::runtime_error{"nobody listens"};
}

/// Makes text of exactly so many bytes; it ends between two characters.
std::string text_of(Content content, std::size_t bytes)
{
    std::string text;
    for (unsigned i = 0; text.size() < bytes; ++i)
        text += content == Content::json
                    ? fmt::format(R"({{"id":{},"symbol":"ABC-{}","price":{}.25,"size":100}},)", i,
                                  i % 100, 100 + i % 900)
                    : "order "
                      "\u4ef7\u683c\u884c\u60c5\u66f4\u65b0";
    text.resize(bytes);
    const auto is_inside = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
    while (is_inside(text.back()))
        text.pop_back();
    if (static_cast<unsigned char>(text.back()) >= 0xc0)
        text.pop_back();
    text.resize(bytes, ' ');
    return text;
}

} // namespace

std::string Job::url() const
{
    return fmt::format("{}://127.0.0.1:{}/", is_secure ? "wss" : "ws", port);
}

std::vector<Entry>& registry()
{
    static std::vector<Entry> entries;
    return entries;
}

Samples run(const Entry& entry, const Job& asked)
{
    auto job = asked;
    std::unique_ptr<Child> peer;
    if (job.is_secure)
        (void)certificate();
    if (entry.serve) {
        peer = std::make_unique<Child>([&](int out) {
            entry.serve(job, [out](std::uint16_t port) { say(out, fmt::format("{}\n", port)); });
        });
        const auto line = peer->read_line(10s);
        job.port = static_cast<std::uint16_t>(std::stoi(line));
    }
    if (job.exactly != 0) {
        Samples samples;
        entry.measure(job, samples);
        return samples;
    }
    std::deque<Child> hogs;
    while (hogs.size() < job.hogs)
        hogs.emplace_back([](int) {
            for (volatile std::uint64_t work = 0;;)
                work = work + 1;
        });
    Child client{[&](int out) {
        Samples samples;
        entry.measure(job, samples);
        for (const auto& [metric, value] : samples.values())
            say(out, fmt::format("{} {}\n", metric, value));
        say(out, "end\n");
    }};
    Samples samples;
    for (;;) {
        const auto line = client.read_line(60s);
        if (line == "end")
            return samples;
        const auto space = line.find(' ');
        if (space == line.npos || line.starts_with("error "))
            throw std::runtime_error{line.empty() ? "the client died" : line};
        samples.add(line.substr(0, space), std::stod(line.substr(space + 1)));
    }
}

Usage Usage::now()
{
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    timespec cpu{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return {static_cast<double>(cpu.tv_sec) + 1e-9 * static_cast<double>(cpu.tv_nsec),
            usage.ru_nvcsw};
}

std::size_t resident_bytes()
{
    std::size_t total = 0, resident = 0;
    std::ifstream{"/proc/self/statm"} >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// Resets the kernel's peak of resident memory.
PeakMemory::PeakMemory()
{
    std::ofstream{"/proc/self/clear_refs"} << "5";
    before_ = resident_bytes();
}

std::size_t PeakMemory::bytes() const
{
    std::ifstream status{"/proc/self/status"};
    std::size_t kib = 0;
    for (std::string word; status >> word && word != "VmHWM:";) {
    }
    status >> kib;
    return std::max(kib * 1024, before_) - before_;
}

std::size_t raise_descriptor_limit()
{
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

std::string payload_of(const Job& job)
{
    if (job.content != Content::letters)
        return text_of(job.content, job.payload_bytes);
    std::string text(job.payload_bytes, '\0');
    for (std::size_t i = 0; i < text.size(); ++i)
        text[i] = static_cast<char>('a' + i * 7 % 26);
    return text;
}

void vary(std::string& payload)
{
    constexpr std::size_t part = 16;
    static std::uint32_t state = 1;
    for (std::size_t count = payload.size() / part; count > 1; --count) {
        state = state * 1664525 + 1013904223;
        const auto other = (state >> 8) % count;
        std::swap_ranges(payload.begin() + static_cast<std::ptrdiff_t>(part * other),
                         payload.begin() + static_cast<std::ptrdiff_t>(part * (other + 1)),
                         payload.begin() + static_cast<std::ptrdiff_t>(part * (count - 1)));
    }
}

Meter::Meter(const Job& job)
    : expected_sum_{checksum(bytes_of(payload_of(job)))},
      mask_{job.payload_bytes > (1u << 20) ? 0u
            : job.payload_bytes > 16384    ? 7u
                                           : 255u},
      exactly_{job.exactly},
      warm_up_{std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>{job.seconds / 5})},
      length_{
          std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>{job.seconds})}
{
}

bool Meter::tick()
{
    if (exactly_ != 0)
        return count_ < exactly_;
    const auto now = Clock::now();
    if (first_ == 0) {
        if (now - began_ >= warm_up_) {
            first_ = count_;
            measured_from_ = now;
            usage_from_ = Usage::now();
        }
        return true;
    }
    if (now - measured_from_ < length_)
        return true;
    measured_to_ = now;
    usage_to_ = Usage::now();
    return false;
}

void Meter::report(Samples& samples) const
{
    if (sum_ != expected_sum_ * count_)
        throw std::runtime_error{"wrong checksum"};
    if (exactly_ != 0)
        return;
    const auto messages = static_cast<double>(count_ - first_);
    samples.add("per_second",
                messages / std::chrono::duration<double>(measured_to_ - measured_from_).count());
    samples.add("cpu_ns", 1e9 * (usage_to_.cpu_seconds - usage_from_.cpu_seconds) / messages);
    samples.add(
        "switches_per_1000",
        1000 * static_cast<double>(usage_to_.voluntary_switches - usage_from_.voluntary_switches)
            / messages);
}

std::size_t Histogram::bucket(std::uint64_t value) noexcept
{
    const auto width = static_cast<unsigned>(std::bit_width(value));
    if (width <= fine_bits)
        return value;
    return (static_cast<std::size_t>(width - fine_bits) << fine_bits)
           + ((value >> (width - fine_bits - 1)) & ((1u << fine_bits) - 1));
}

void Histogram::add(Clock::duration time) noexcept
{
    ++counts_[bucket(static_cast<std::uint64_t>(std::max<Clock::rep>(0, time.count())))];
    ++total_;
}

double Histogram::microseconds(double quantile) const
{
    auto left = static_cast<std::uint64_t>(quantile * static_cast<double>(total_));
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        if (counts_[i] > left) {
            const auto exponent = i >> fine_bits;
            const auto fine = i & ((1u << fine_bits) - 1);
            return 1e-3
                   * (exponent == 0
                          ? static_cast<double>(i)
                          : static_cast<double>(((1ull << fine_bits) + fine) << (exponent - 1)));
        }
        left -= counts_[i];
    }
    return 0;
}

void Histogram::report(Samples& samples) const
{
    samples.add("p50_us", microseconds(0.5));
    samples.add("p99_us", microseconds(0.99));
    samples.add("p999_us", microseconds(0.999));
}

} // namespace bench
