// simulation: runs worlds that seeds draw, and makes a world that fails smaller.
//   simulation --seeds FIRST COUNT [--jobs N] [--no-shrink]    0: no rule was broken
//   simulation --seed N [--trace]                one world, drawn
//   simulation --world FILE... [--trace]         worlds that are written down
//   simulation --print N                         the world of a seed
// Each world runs in a process of its own when it has failed, else many share one: a crash or a hang
// is then the world's that ran.
#include "simulation/run.hpp"
#include "simulation/world.hpp"
#include "support/sanitized.hpp"

#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace simulation;

namespace {

using Clock = std::chrono::steady_clock;

/// In real time, of one world.
constexpr auto patience = std::chrono::seconds{is_sanitized ? 60 : 10};

/// What a child shows its parent.
struct Report {
    std::atomic<std::uint64_t> seed{0};    ///< the one that runs
    std::atomic<std::int64_t> began_at{0}; ///< when, in ms of the steady clock; 0: all is done
    std::atomic<bool> has_failed{false};
    char complaint[2'000]{};
};

std::int64_t now_ms()
{
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
        .count();
}

struct Shared {
    Shared()
        : report{new(mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Report}
    {
    }
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared() { munmap(report, sizeof(Report)); }
    Report* report;
};

struct Failed {
    std::uint64_t seed = 0;
    std::string complaint;
};

/// A process that runs worlds one after the other, until one fails.
class Child {
public:
    template <class Work>
    explicit Child(Work work)
    {
        std::fflush(nullptr);
        shared_.report->began_at = now_ms();
        pid_ = fork();
        if (pid_ != 0)
            return;
        work(*shared_.report);
        shared_.report->began_at = 0;
        std::_Exit(0);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    /// True: it has ended; failure() says how.
    [[nodiscard]] bool has_ended()
    {
        int status = 0;
        if (waitpid(pid_, &status, WNOHANG) == pid_) {
            const auto& report = *shared_.report;
            if (report.has_failed)
                failed_ = {report.seed, report.complaint};
            else if (WIFSIGNALED(status))
                failed_ = {report.seed, fmt::format("it crashed: {}", strsignal(WTERMSIG(status)))};
            else if (WEXITSTATUS(status) != 0 || report.began_at != 0)
                failed_ = {report.seed, fmt::format("it ended with {}", WEXITSTATUS(status))};
            return true;
        }
        const auto began = shared_.report->began_at.load();
        if (began != 0 && now_ms() - began > std::chrono::milliseconds{patience}.count()) {
            kill(pid_, SIGABRT); // for a core
            kill(pid_, SIGKILL);
            waitpid(pid_, &status, 0);
            failed_ = {shared_.report->seed.load(), "it hangs"};
            return true;
        }
        return false;
    }
    [[nodiscard]] const std::optional<Failed>& failure() const { return failed_; }
    [[nodiscard]] std::uint64_t seed() const { return shared_.report->seed; }

private:
    Shared shared_;
    pid_t pid_ = 0;
    std::optional<Failed> failed_;
};

void run_one(Report& report, const World& world, bool traces)
{
    report.seed = world.seed;
    report.began_at = now_ms();
    const auto complaint = run(world, traces);
    if (complaint.empty())
        return;
    complaint.copy(report.complaint, sizeof report.complaint - 1);
    report.has_failed = true;
}

/// In a process of its own. Empty: it held.
std::string try_world(const World& world, bool traces = false)
{
    Child child{[&](Report& report) {
        if (!traces) // what a sanitizer says of each attempt is not of interest
            (void)!freopen("/dev/null", "w", stderr);
        // The first world of a process allocates what the process then keeps
        (void)run(from_text("world 0\nlink\n"));
        run_one(report, world, traces);
    }};
    while (!child.has_ended())
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    return child.failure() ? child.failure()->complaint : std::string{};
}

/// A complaint without what differs from world to world.
std::string kind_of(const std::string& complaint)
{
    std::string kind;
    for (const char c : complaint.substr(0, complaint.find('"')))
        if (std::isdigit(static_cast<unsigned char>(c)) == 0)
            kind += c;
    return kind.substr(0, 30);
}

World make_smaller(World world, const std::string& complaint)
{
    const auto kind = kind_of(complaint);
    const auto end = Clock::now() + std::chrono::seconds{is_sanitized ? 120 : 60};
    for (auto chunk = std::max<std::size_t>(world.steps.size() / 2, 1);;) {
        const auto all = smaller(world, chunk);
        const auto found = std::find_if(all.begin(), all.end(), [&](const auto& less) {
            return Clock::now() < end && kind_of(try_world(less)) == kind;
        });
        if (found != all.end()) {
            world = *found;
            chunk = std::min(chunk, std::max<std::size_t>(world.steps.size() / 2, 1));
        } else if (chunk > 1) {
            chunk /= 2;
        } else {
            return world;
        }
    }
}

void explain(const Failed& failed, const char* program, bool shrinks)
{
    fmt::print("seed {} failed: {}\nrepeat it: {} --seed {} --trace\n", failed.seed,
               failed.complaint, program, failed.seed);
    std::fflush(stdout);
    if (!shrinks)
        return;
    const auto world = draw(failed.seed);
    if (try_world(world).empty())
        return (void)fmt::print("it did not fail again alone\n");
    const auto less = make_smaller(world, failed.complaint);
    fmt::print("made smaller ({}); repeat it: {} --trace --world FILE, with this in FILE\n{}",
               try_world(less), program, to_text(less));
    std::fflush(stdout);
}

/// Returns the first failure of each job.
std::vector<Failed> run_seeds(std::uint64_t first, std::uint64_t count, unsigned jobs)
{
    // A process has so many worlds at most: what it holds then ends with it
    constexpr std::uint64_t batch = 250;
    std::vector<std::unique_ptr<Child>> children;
    std::vector<Failed> failures;
    std::uint64_t next = first;
    const auto end = first + count;
    while ((next < end && failures.empty()) || !children.empty()) {
        while (next < end && failures.empty() && children.size() < jobs) {
            const auto begin = next, its_end = std::min(next + batch, end);
            next = its_end;
            children.push_back(std::make_unique<Child>([&](Report& report) {
                (void)run(from_text("world 0\nlink\n"));
                for (auto seed = begin; seed < its_end && !report.has_failed; ++seed)
                    run_one(report, draw(seed), false);
            }));
        }
        std::erase_if(children, [&](const auto& child) {
            if (!child->has_ended())
                return false;
            if (child->failure())
                failures.push_back(*child->failure());
            return true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
    std::sort(failures.begin(), failures.end(),
              [](const auto& a, const auto& b) { return a.seed < b.seed; });
    return failures;
}

std::string content_of(const char* path)
{
    std::ifstream file{path};
    if (!file) {
        fmt::print("cannot read {}\n", path);
        std::exit(64);
    }
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

} // namespace

int main(int argc, char** argv)
{
    std::vector<std::string_view> words{argv + 1, argv + argc};
    const auto take_flag = [&](std::string_view flag) { return std::erase(words, flag) != 0; };
    const bool traces = take_flag("--trace");
    const bool shrinks = !take_flag("--no-shrink");
    unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
    const auto number = [&](std::size_t at) {
        return std::strtoull(std::string{words.at(at)}.c_str(), nullptr, 10);
    };
    if (words.size() == 5 && words[3] == "--jobs")
        jobs = static_cast<unsigned>(number(4));
    if (words.size() >= 3 && words[0] == "--seeds") {
        const auto began = Clock::now();
        const auto failures = run_seeds(number(1), number(2), jobs);
        if (!failures.empty()) {
            explain(failures.front(), argv[0], shrinks);
            return 1;
        }
        fmt::print("{} worlds held, in {:.1f} s\n", number(2),
                   std::chrono::duration<double>(Clock::now() - began).count());
        return 0;
    }
    if (words.size() == 2 && words[0] == "--print") {
        fmt::print("{}", to_text(draw(number(1))));
        return 0;
    }
    std::vector<World> worlds;
    if (words.size() == 2 && words[0] == "--seed")
        worlds.push_back(draw(number(1)));
    else if (words.size() >= 2 && words[0] == "--world")
        for (std::size_t i = 1; i < words.size(); ++i)
            worlds.push_back(from_text(content_of(std::string{words[i]}.c_str())));
    else
        return 64;
    int status = 0;
    for (std::size_t i = 0; i < worlds.size(); ++i) {
        const auto complaint = try_world(worlds[i], traces);
        if (complaint.empty())
            continue;
        fmt::print("{}: {}\n", words[i + 1], complaint);
        status = 1;
    }
    return status;
}
