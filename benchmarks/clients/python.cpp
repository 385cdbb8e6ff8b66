// The origin of the pattern: Python's websockets on a thread, a queue to the main one. The script
// prints its samples itself.
#include "../cases.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace bench {
namespace {

void run_python(std::string_view what, const Job& job, Samples& samples)
{
    const auto command =
        fmt::format("/usr/bin/python3 {} {} {} {} {}", PYTHON_CLIENT, what, job.url(), job.seconds,
                    what == "ingest" ? job.payload_bytes : job.count / 10);
    auto* output = ::popen(command.c_str(), "r");
    char metric[64];
    double value = 0;
    while (output && std::fscanf(output, "%63s %lf", metric, &value) == 2)
        samples.add(metric, value);
    if (!output || ::pclose(output) != 0)
        throw std::runtime_error{"python failed"};
}

const bool registered = [] {
    for (const std::string what : {"ingest", "round_trip"})
        registry().push_back(
            {"websocket_" + what, "python websockets",
             [what](const Job& job, Samples& samples) { run_python(what, job, samples); }, serve});
    return true;
}();

} // namespace
} // namespace bench
