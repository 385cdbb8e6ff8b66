// Runs the cases and writes a line for each sample: case, variant, competitor, metric, value,
// separated by tabs.
// sidecar_benchmarks [--quick] [--rounds N] [--hogs N]... [--only COMPETITOR] [CASE[/VARIANT]...]
// In each round every competitor runs once, one after the other; the next round begins with the
// first again. With --hogs N, N other processes want a core all the time; several: each number in
// each round. --list only lists the measurements: case, variant, competitor. --compiler names the
// compiler. With --exactly N a client takes or sends N messages, in this process and without output,
// so that its instructions can be counted from outside.
#include "harness.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

namespace {

using bench::Job, bench::Protocol, bench::Role;

struct Case {
    std::string name;
    std::string variant;
    Job job;
};

/// Adds cases with text that is validated, fragmented messages, and messages of mebibytes.
void add_websocket_only(std::vector<Case>& cases, double seconds, std::uint64_t scale)
{
    using bench::Content;
    for (const auto& [name, content] :
         {std::pair{"JSON", Content::json}, std::pair{"half CJK", Content::half_cjk}})
        for (const auto& [size, bytes] :
             {std::pair{"64 B", 64u}, std::pair{"1 KiB", 1024u}, std::pair{"64 KiB", 65536u}})
            cases.push_back({"websocket_text",
                             fmt::format("{} {}", name, size),
                             {.payload_bytes = bytes, .content = content, .seconds = seconds}});
    cases.push_back({"websocket_fragments",
                     "4 MiB of 64 B",
                     {.payload_bytes = 4u << 20, .fragment_bytes = 64, .seconds = seconds}});
    for (const auto& [size, bytes] : {std::pair{"300 B", 300u}, std::pair{"4 KiB", 4096u}}) {
        const std::string variant = fmt::format("JSON {}", size);
        cases.push_back({"websocket_deflate",
                         variant,
                         {.payload_bytes = bytes,
                          .content = Content::json,
                          .is_compressed = true,
                          .seconds = seconds}});
        cases.push_back({"websocket_deflate_send",
                         variant,
                         {.role = Role::sink,
                          .payload_bytes = bytes,
                          .content = Content::json,
                          .is_compressed = true,
                          .count = (bytes == 300 ? 20'000 : 2'000) * scale}});
    }
    cases.push_back({"websocket_echo",
                     "16 MiB",
                     {.role = Role::echo, .payload_bytes = 16u << 20, .count = 3 * scale}});
}

/// Adds WebSocket over TLS. A server that writes small messages one by one makes a record of each;
/// one that writes several at once fills records.
void add_secure(std::vector<Case>& cases, double seconds, std::uint64_t scale)
{
    const auto add = [&](std::string name, std::string variant, Job job) {
        job.is_secure = true;
        cases.push_back({"wss_" + std::move(name), std::move(variant), job});
    };
    add("ingest", "64 B", {.payload_bytes = 64, .seconds = seconds});
    add("ingest", "64 B in a record each",
        {.payload_bytes = 64, .seconds = seconds, .has_own_records = true});
    add("ingest", "1 KiB", {.payload_bytes = 1024, .seconds = seconds});
    add("ingest", "64 KiB", {.payload_bytes = 65536, .seconds = seconds});
    add("send", "64 B", {.role = Role::sink, .count = 50'000 * scale});
    add("round_trip", "64 B", {.role = Role::echo, .count = 5'000 * scale});
}

/// Adds a client beside a NATS server. Its generator is another client.
void add_nats(std::vector<Case>& cases, double seconds, std::uint64_t scale)
{
    const auto add = [&](std::string name, std::string variant, Job job) {
        job.protocol = Protocol::none;
        cases.push_back({"nats_" + std::move(name), std::move(variant), job});
    };
    for (const auto& [size, bytes] :
         {std::pair{"16 B", 16u}, std::pair{"128 B", 128u}, std::pair{"1 KiB", 1024u}}) {
        add("subscribe", size, {.payload_bytes = bytes, .seconds = seconds});
        add("publish", size,
            {.role = Role::sink, .payload_bytes = bytes, .count = 100'000 * scale});
    }
    add("round_trip", "64 B", {.role = Role::echo, .count = 3'000 * scale});
}

constexpr const char* compiler =
#if defined(__clang__)
    __VERSION__;
#else
    "g++ " __VERSION__;
#endif

std::vector<Case> all_cases(bool quick)
{
    const double seconds = quick ? 0.3 : 1.0;
    const std::uint64_t scale = quick ? 1 : 4;
    std::vector<Case> cases;
    for (const auto& [prefix, protocol] :
         {std::pair{"websocket_", Protocol::websocket}, std::pair{"tcp_", Protocol::tcp}}) {
        const auto add = [&](std::string name, std::string variant, Job job) {
            job.protocol = protocol;
            cases.push_back({prefix + name, std::move(variant), job});
        };
        add("ingest", "64 B", {.payload_bytes = 64, .seconds = seconds});
        add("ingest", "1 KiB", {.payload_bytes = 1024, .seconds = seconds});
        add("ingest", "64 KiB", {.payload_bytes = 65536, .seconds = seconds});
        if (protocol == Protocol::websocket)
            add_websocket_only(cases, seconds, scale);
        add("send", "64 B", {.role = Role::sink, .count = 50'000 * scale});
        add("send", "64 KiB", {.role = Role::sink, .payload_bytes = 65536, .count = 2'000 * scale});
        add("round_trip", "64 B", {.role = Role::echo, .count = 5'000 * scale});
        for (const std::uint64_t rate : {10'000, 100'000})
            add("latency", fmt::format("{}/s", rate),
                {.role = Role::paced,
                 .count = static_cast<std::uint64_t>(2 * seconds * static_cast<double>(rate)),
                 .rate = rate});
        add("idle", "one link", {.role = Role::idle, .seconds = quick ? 0.5 : 2.0});
        add("cycle", "loopback", {.role = Role::cycle, .count = 50 * scale});
    }
    add_secure(cases, seconds, scale);
    add_nats(cases, seconds, scale);
    for (const std::uint64_t burst : {1, 64})
        cases.push_back({"handoff",
                         burst == 1 ? "one by one" : "bursts of 64",
                         {.protocol = Protocol::none, .count = burst, .seconds = seconds}});
    for (const std::uint64_t links : {1, 1'000, 10'000})
        if (!quick || links <= 1'000)
            cases.push_back({"links",
                             fmt::format("{}", links),
                             {.role = Role::links, .links = links, .seconds = seconds}});
    return cases;
}

/// Makes of each case one for each number of hogs. A wanted variant is named without its hogs.
std::vector<Case> with_hogs(const std::vector<Case>& cases, const std::set<unsigned>& numbers)
{
    std::vector<Case> result;
    for (const auto& each : cases)
        for (const auto hogs : numbers) {
            result.push_back(each);
            result.back().job.hogs = hogs;
        }
    return result;
}

/// Returns the variant as the samples have it.
std::string title(const std::string& variant, const Job& job)
{
    return job.hogs == 0 ? variant : fmt::format("{}, hogs: {}", variant, job.hogs);
}

} // namespace

int main(int argc, char** argv)
{
    bool quick = false, only_list = false;
    int rounds = 0;
    std::uint64_t exactly = 0;
    std::set<std::string> wanted, only;
    std::set<unsigned> hogs;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--quick")
            quick = true;
        else if (argument == "--list")
            only_list = true;
        else if (argument == "--compiler") {
            fmt::print("{}\n", compiler);
            return 0;
        } else if (argument == "--rounds" && i + 1 < argc)
            rounds = std::stoi(argv[++i]);
        else if (argument == "--hogs" && i + 1 < argc)
            hogs.insert(static_cast<unsigned>(std::stoul(argv[++i])));
        else if (argument == "--exactly" && i + 1 < argc)
            exactly = std::stoull(argv[++i]);
        else if (argument == "--only" && i + 1 < argc)
            only.insert(argv[++i]);
        else if (!argument.starts_with("-"))
            wanted.insert(argument);
        else {
            fmt::print(stderr,
                       "usage: {} [--list] [--compiler] [--quick] [--rounds N] [--hogs N]... "
                       "[--exactly N] [--only COMPETITOR]... [CASE[/VARIANT]...]\n",
                       argv[0]);
            return 64;
        }
    }
    if (rounds == 0)
        rounds = only_list || exactly != 0 ? 1 : quick ? 3 : 5;

    if (hogs.empty())
        hogs.insert(0);

    int failures = 0;
    for (auto& [name, variant, job] : with_hogs(all_cases(quick), hogs)) {
        job.exactly = exactly;
        if (exactly != 0 && (job.role == Role::sink || job.role == Role::echo))
            job.count = exactly;
        if (!wanted.empty() && !wanted.contains(name) && !wanted.contains(name + "/" + variant))
            continue;
        for (int round = 0; round < rounds; ++round) {
            for (const auto& entry : bench::registry()) {
                if (entry.case_name != name || (!only.empty() && !only.contains(entry.competitor)))
                    continue;
                if (only_list) {
                    fmt::print("{}\t{}\t{}\n", name, title(variant, job), entry.competitor);
                    continue;
                }
                try {
                    const auto samples = bench::run(entry, job);
                    for (const auto& [metric, value] : samples.values())
                        fmt::print("{}\t{}\t{}\t{}\t{}\n", name, title(variant, job),
                                   entry.competitor, metric, value);
                    std::fflush(stdout);
                } catch (const std::exception& e) {
                    fmt::print(stderr, "{}, {}, {}: {}\n", name, title(variant, job),
                               entry.competitor, e.what());
                    ++failures;
                }
            }
        }
    }
    return failures == 0 ? 0 : 1;
}
