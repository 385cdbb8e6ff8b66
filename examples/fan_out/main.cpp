// Many workers on one stream of a NATS cluster, and nothing is lost when one of them or a node dies.
//   fan_out [demo] [--messages N] [--server nats-server]
//                                          all of it here: starts a cluster, and kills a part of it
//   fan_out streams URL [--replicas N]     makes the streams
//   fan_out publish URL [--messages N] [--feed ws://host:port/path]
//   fan_out work URL NAME                  as many as you like, until Ctrl-C
//   fan_out sum URL [--every N]
// URL: "nats://a.example,nats://b.example".
#include "fan_out.hpp"

#include <sidecar/error.hpp>

#include <fmt/format.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

volatile sig_atomic_t interrupted = 0;

/// Waits a little, or until `fd` is readable. Throws after Ctrl-C, and after two minutes.
void wait_a_little(int fd = -1)
{
    static const auto began = std::chrono::steady_clock::now();
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    ::poll(&entry, 1, 20);
    if (interrupted != 0)
        throw std::runtime_error{"stopped by a signal"};
    if (std::chrono::steady_clock::now() - began > std::chrono::minutes{2})
        throw std::runtime_error{"it takes too long"};
}

/// A child process. It ends with this object, and with this process however that ends.
class Process {
public:
    Process(std::vector<std::string> command, const std::string& log, int out)
    {
        std::vector<char*> arguments;
        for (auto& argument : command)
            arguments.push_back(argument.data());
        arguments.push_back(nullptr);
        const auto parent = ::getpid();
        pid_ = ::fork();
        if (pid_ < 0)
            throw std::runtime_error{"no process"};
        if (pid_ > 0)
            return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::dup2(out, STDOUT_FILENO);
        ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
        if (::getppid() == parent)
            ::execv(arguments[0], arguments.data());
        ::_exit(127);
    }
    Process(Process&& other) noexcept : pid_{std::exchange(other.pid_, -1)} {}
    Process& operator=(Process&&) = delete;
    ~Process() { kill(); }
    void kill() noexcept
    {
        if (pid_ > 0)
            ::kill(pid_, SIGKILL), ::waitpid(std::exchange(pid_, -1), nullptr, 0);
    }
    /// Waits until it ends. Throws unless it ends with 0.
    void finish(const char* name)
    {
        int status = 0;
        while (::waitpid(pid_, &status, WNOHANG) == 0)
            wait_a_little();
        pid_ = -1;
        if (status != 0)
            throw std::runtime_error{fmt::format("{} has failed", name)};
    }

private:
    pid_t pid_ = -1;
};

/// Returns a free port of the loopback. It stays bound here, so nobody else gets it; the server binds
/// it too, since both ask for SO_REUSEADDR.
int free_port()
{
    const int on = 1, fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* const address = reinterpret_cast<sockaddr*>(&at);
    if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || ::bind(fd, address, size) != 0 || ::getsockname(fd, address, &size) != 0)
        throw std::runtime_error{"no free port"};
    return ntohs(at.sin_port);
}

std::string find_server(const std::string& name)
{
    const char* const path = std::getenv("PATH");
    std::istringstream directories{fmt::format("{}:/usr/sbin", path ? path : "")};
    for (std::string directory; std::getline(directories, directory, ':');)
        if (const auto file = directory + "/" + name; ::access(file.c_str(), X_OK) == 0)
            return file;
    throw std::runtime_error{name + " is missing. Debian, Ubuntu: apt install nats-server"};
}

/// Starts the nodes "n0", "n1" and "n2", each with JetStream and with routes to all. Appends to `url`.
std::vector<Process> start_cluster(const std::string& program, const std::string& directory,
                                   std::string& url)
{
    std::string routes;
    std::vector<std::string> configs;
    for (int i = 0; i < 3; ++i) {
        const int port = free_port(), route = free_port();
        url += fmt::format("{}nats://127.0.0.1:{}", i == 0 ? "" : ",", port);
        routes += fmt::format("\"nats://127.0.0.1:{}\", ", route);
        configs.push_back(fmt::format("server_name: n{0}\nlisten: \"127.0.0.1:{1}\"\n"
                                      "jetstream {{ store_dir: \"{2}/n{0}\" }}\n"
                                      "cluster {{ name: demo, listen: \"127.0.0.1:{3}\", routes: ",
                                      i, port, directory, route));
    }
    std::vector<Process> nodes;
    for (const auto& config : configs) {
        const auto file = fmt::format("{}/n{}.conf", directory, nodes.size());
        std::ofstream{file} << config << "[ " << routes << "] }\n";
        nodes.push_back({{program, "-c", file}, directory + "/nodes.log", STDOUT_FILENO});
    }
    return nodes;
}

void run_demo(std::uint64_t count, const std::string& server, const std::string& directory)
{
    std::string url;
    auto nodes = start_cluster(server, directory, url);
    const auto start = [&](std::vector<std::string> command, int out = STDOUT_FILENO) {
        command.insert(command.begin(), std::filesystem::read_symlink("/proc/self/exe"));
        return Process{std::move(command), directory + "/roles.log", out};
    };
    start({"streams", url, "--replicas", "3"}).finish("streams");
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        throw std::runtime_error{"no pipe"};
    auto sum = start({"sum", url, "--every", std::to_string(std::max<std::uint64_t>(1, count / 8))},
                     ends[1]);
    ::close(ends[1]);
    std::map<std::string, Process> workers;
    for (const std::string name : {"anna", "ben", "cleo"})
        workers.emplace(name, start({"work", url, name}));
    auto publisher = start({"publish", url, "--messages", std::to_string(count)});
    fmt::print("demo: three nodes, a publisher, the workers anna, ben and cleo, and sum\n");
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    std::string line;
    int lines = 0;
    for (char c = 0; const auto got = ::read(ends[0], &c, 1);) { // 0: sum has ended
        if (got < 0)
            wait_a_little(ends[0]);
        else if (line += c; c == '\n') {
            fmt::print("{}", line);
            if (++lines == 1) {
                for (auto& [name, worker] : workers) {
                    if (line.find(name) == line.npos)
                        continue; // it has done nothing yet
                    worker.kill();
                    fmt::print("demo: kill -9 of the worker {}\n", name);
                    break;
                }
            } else if (lines == 2) {
                const auto node = node_without_consumer(url);
                nodes.at(static_cast<std::size_t>(node[1] - '0')).kill();
                fmt::print("demo: kill -9 of the node {}\n", node);
            }
            line.clear();
        }
    }
    sum.finish("sum");
    publisher.finish("publish");
    fmt::print("demo: nothing is lost, and nothing counts twice\n");
}

/// Ends all processes and removes all files, whatever happens.
int demo(std::uint64_t count, const std::string& server)
{
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = 1; };
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        ::sigaction(signal, &action, nullptr);
    std::string directory = std::filesystem::temp_directory_path() / "sidecar-fan-out-XXXXXX";
    if (!::mkdtemp(directory.data()))
        throw std::runtime_error{"no temporary directory"};
    std::string failure;
    try {
        run_demo(count, server, directory);
    } catch (const std::exception& e) {
        failure = e.what();
        for (const char* name : {"/nodes.log", "/roles.log"})
            if (std::ifstream log{directory + name}; interrupted == 0)
                for (std::string line; std::getline(log, line);)
                    if (!line.starts_with('[')) // the nodes' talk
                        fmt::print(stderr, "{}\n", line);
    }
    std::filesystem::remove_all(directory);
    return failure.empty() ? 0 : throw std::runtime_error{failure};
}

} // namespace

int main(int argc, char** argv)
{
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ); // several processes write to it
    try {
        std::map<std::string, std::string> options{{"--feed", ""},
                                                   {"--messages", "2000"},
                                                   {"--replicas", "1"},
                                                   {"--every", "1000"},
                                                   {"--server", "nats-server"}};
        std::vector<std::string> words;
        for (int i = 1; i < argc; ++i)
            if (const auto option = options.find(argv[i]); option == options.end())
                words.emplace_back(argv[i]);
            else if (++i < argc)
                option->second = argv[i];
        const auto number = [&](const char* name) { return std::stoull(options.at(name)); };
        if (words.empty() || words[0] == "demo")
            return demo(number("--messages"), find_server(options.at("--server")));
        words.resize(3);
        if (words[0] == "streams")
            return make_streams(words[1], number("--replicas"));
        if (words[0] == "publish")
            return publish(words[1], options.at("--feed"), number("--messages"));
        if (words[0] == "work")
            return work(words[1], words[2]);
        if (words[0] == "sum")
            return sum(words[1], number("--every"));
        throw std::invalid_argument{
            "wants demo, streams URL, publish URL, work URL NAME or sum URL"};
    } catch (const sidecar::Exception& e) {
        fmt::print(stderr, "fan_out: {}\n", e.what());
        return e.failure() == sidecar::Error::stopped ? 130 : 1;
    } catch (const std::exception& e) {
        fmt::print(stderr, "fan_out: {}\n", e.what());
        return 1;
    }
}
