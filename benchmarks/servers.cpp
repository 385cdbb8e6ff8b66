// Runs the cases of servers and writes a line for each sample: case, variant, server, metric,
// value, separated by tabs.
// sidecar_server_benchmarks [--list] [--quick] [--rounds N] [--only SERVER] [CASE[/VARIANT]...]
// In each round every server runs once, one after the other, in a process of its own; this process
// is the load, one thread with all clients. With --serve NAME it is that server.
#include "harness.hpp"
#include "servers/load.hpp"
#include "servers/subjects.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using bench::Load, bench::Samples, bench::ServerProcess;

struct Case {
    std::string name;
    std::string variant;
    std::function<void(ServerProcess&, Samples&)> measure;
};

double seconds_since(bench::Clock::time_point begin, bench::Clock::time_point end)
{
    return std::chrono::duration<double>(end - begin).count();
}

void connect(ServerProcess& server, Load& load, std::size_t count, std::size_t all)
{
    load.connect(count);
    server.say(fmt::format("wait {}\n", all));
    if (server.read_line() != "ready")
        throw std::runtime_error{"not ready"};
}

/// Returns the mean time of a broadcast() on the application's thread.
double take_done(ServerProcess& server)
{
    const auto line = server.read_line();
    if (!line.starts_with("done "))
        throw std::runtime_error{"not done"};
    return 1e-3 * std::stod(line.substr(5));
}

/// Broadcasts at most `window` messages ahead of the slowest client.
void broadcast(ServerProcess& server, Samples& samples, std::size_t clients, std::size_t bytes,
               std::size_t window, std::size_t count)
{
    Load load{server};
    connect(server, load, clients, clients);
    for (const bool is_measured : {false, true}) {
        const auto messages = is_measured ? count : count / 5 + 1;
        const auto cpu = server.cpu_seconds();
        const auto begin = bench::Clock::now();
        server.say(fmt::format("burst {} {} {}\n", messages, window, bytes));
        const auto end = load.receive(messages, bytes);
        const auto mean = take_done(server);
        if (!is_measured)
            continue;
        const auto deliveries = static_cast<double>(messages * clients);
        samples.add("per_second", deliveries / seconds_since(begin, end));
        samples.add("cpu_ns", 1e9 * (server.cpu_seconds() - cpu) / deliveries);
        samples.add("broadcast_us", mean);
    }
}

/// One of the clients may read nothing. Its part fills before the others come.
void slow(ServerProcess& server, Samples& samples, std::size_t clients, bool has_slow,
          std::size_t count)
{
    constexpr std::size_t bytes = 1024;
    Load load{server};
    if (has_slow) {
        load.connect_deaf();
        connect(server, load, 0, 1);
        server.say(fmt::format("paced 8000 16000 {}\n", bytes));
        (void)take_done(server);
    }
    connect(server, load, clients, clients + (has_slow ? 1 : 0));
    for (const bool is_measured : {false, true}) {
        (void)load.take_latencies();
        const auto before = server.resident_bytes();
        server.say(fmt::format("paced {} 50 {}\n", is_measured ? count : 10, bytes));
        (void)load.receive(is_measured ? count : 10, bytes);
        (void)take_done(server);
        if (!is_measured)
            continue;
        const auto latencies = load.take_latencies();
        samples.add("p99_us", latencies.microseconds(0.99));
        samples.add("p999_us", latencies.microseconds(0.999));
        const auto after = server.resident_bytes();
        samples.add("peak_bytes", static_cast<double>(std::max(after, before) - before));
    }
}

void idle(ServerProcess& server, Samples& samples, std::size_t clients)
{
    Load load{server};
    connect(server, load, 10, 10); // what the first ones cost once
    const auto before = server.resident_bytes();
    connect(server, load, clients, clients + 10);
    const auto after = server.resident_bytes();
    samples.add("bytes_per_link", static_cast<double>(std::max(after, before) - before)
                                      / static_cast<double>(clients));
}

void accept(ServerProcess& server, Samples& samples, std::chrono::milliseconds time)
{
    Load load{server};
    const auto cpu = server.cpu_seconds();
    const auto begin = bench::Clock::now();
    const auto count = static_cast<double>(load.connect_for(time, 16));
    samples.add("connects_per_second", count / seconds_since(begin, bench::Clock::now()));
    samples.add("cpu_us_each", 1e6 * (server.cpu_seconds() - cpu) / count);
}

void echo(ServerProcess& server, Samples& samples, std::size_t count)
{
    server.say("echo\n");
    Load load{server};
    const auto cpu = server.cpu_seconds();
    load.round_trips(count).report(samples);
    samples.add("cpu_ns", 1e9 * (server.cpu_seconds() - cpu) / static_cast<double>(count));
}

std::vector<Case> all_cases(bool quick)
{
    std::vector<Case> cases;
    for (const std::size_t window : {1, 32})
        for (const std::size_t clients : {100, 1000})
            for (const auto& [size, bytes] :
                 {std::pair{"100 B", 100u}, std::pair{"1 KiB", 1024u}}) {
                const std::size_t count = (quick ? 20'000 : 300'000) / clients;
                cases.push_back({window == 1 ? "broadcast" : "broadcast_burst",
                                 fmt::format("{} to {}", size, clients),
                                 [=, bytes = bytes](ServerProcess& server, Samples& samples) {
                                     broadcast(server, samples, clients, bytes, window, count);
                                 }});
            }
    const std::size_t clients = quick ? 200 : 999, count = quick ? 25 : 200;
    for (const bool has_slow : {false, true})
        cases.push_back({"slow", has_slow ? "one of all reads nothing" : "all read",
                         [=](ServerProcess& server, Samples& samples) {
                             slow(server, samples, clients, has_slow, count);
                         }});
    const auto most =
        std::min<std::size_t>(quick ? 500 : 10'000, bench::raise_descriptor_limit() - 200);
    cases.push_back(
        {"idle", fmt::format("{} clients", most),
         [=](ServerProcess& server, Samples& samples) { idle(server, samples, most); }});
    cases.push_back({"accept", "TCP", [=](ServerProcess& server, Samples& samples) {
                         accept(server, samples, quick ? 300ms : 2000ms);
                     }});
    cases.push_back({"server_echo", "64 B", [=](ServerProcess& server, Samples& samples) {
                         echo(server, samples, quick ? 2'000 : 20'000);
                     }});
    return cases;
}

int serve(const std::string& name)
{
    for (const auto& [its_name, make] : bench::subjects())
        if (its_name == name) {
            const auto subject = make();
            bench::Commands{*subject}.run();
            std::_Exit(0); // its threads still run
        }
    return 64;
}

/// Each server's name and command.
std::vector<std::pair<std::string, std::vector<std::string>>> servers()
{
    std::vector<std::pair<std::string, std::vector<std::string>>> all;
    for (const auto& [name, make] : bench::subjects())
        all.push_back({name, {"/proc/self/exe", "--serve", name}});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
        return std::pair{a.first != "floor", a.first} < std::pair{b.first != "floor", b.first};
    });
#ifdef SERVER_WEBSOCKETPP
    all.push_back({"websocketpp", {SERVER_WEBSOCKETPP}});
#endif
#ifdef SERVER_PYTHON
    all.push_back({"python websockets", {"/usr/bin/python3", SERVER_PYTHON}});
#endif
#ifdef SERVER_NODE
    all.push_back({"node ws", {NODE, SERVER_NODE}});
#endif
    return all;
}

} // namespace

int main(int argc, char** argv)
{
    bool quick = false, only_list = false;
    int rounds = 0;
    std::set<std::string> wanted, only;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--quick")
            quick = true;
        else if (argument == "--list")
            only_list = true;
        else if (argument == "--serve" && i + 1 < argc)
            return serve(argv[++i]);
        else if (argument == "--rounds" && i + 1 < argc)
            rounds = std::stoi(argv[++i]);
        else if (argument == "--only" && i + 1 < argc)
            only.insert(argv[++i]);
        else if (!argument.starts_with("-"))
            wanted.insert(argument);
        else {
            fmt::print(stderr,
                       "usage: {} [--list] [--quick] [--rounds N] [--only SERVER] "
                       "[CASE[/VARIANT]...]\n",
                       argv[0]);
            return 64;
        }
    }
    if (rounds == 0)
        rounds = only_list ? 1 : quick ? 3 : 5;

    int failures = 0;
    for (const auto& [name, variant, measure] : all_cases(quick)) {
        if (!wanted.empty() && !wanted.contains(name) && !wanted.contains(name + "/" + variant))
            continue;
        for (int round = 0; round < rounds; ++round)
            for (const auto& [server, command] : servers()) {
                if (!only.empty() && !only.contains(server))
                    continue;
                if (only_list) {
                    fmt::print("{}\t{}\t{}\n", name, variant, server);
                    continue;
                }
                try {
                    Samples samples;
                    ServerProcess process{command};
                    measure(process, samples);
                    for (const auto& [metric, value] : samples.values())
                        fmt::print("{}\t{}\t{}\t{}\t{}\n", name, variant, server, metric, value);
                    std::fflush(stdout);
                } catch (const std::exception& e) {
                    fmt::print(stderr, "{} {} {}: {}\n", name, variant, server, e.what());
                    ++failures;
                }
            }
    }
    return failures != 0;
}
