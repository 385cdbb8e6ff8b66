// sidecar-cat: a network feed on standard output, standard input on a network feed.
#include "command_line.hpp"
#include "exit_status.hpp"
#include "session.hpp"
#include "tell.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sys/signalfd.h>
#include <unistd.h>

namespace {

using namespace sidecar_cat;

/// A descriptor that is closed would be given to a socket of ours, which others then write to.
void open_standard_descriptors()
{
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(descriptor, F_GETFD) < 0) [[maybe_unused]]
            const int opened = ::open("/dev/null", O_RDWR); // the lowest that is free
}

std::optional<std::string> read_file(const std::string& path)
{
    std::ifstream file{path, std::ios::binary};
    if (!file)
        return std::nullopt;
    std::string text{std::istreambuf_iterator<char>{file}, {}};
    if (file.bad())
        return std::nullopt;
    return text;
}

std::optional<std::string> read_environment(const std::string& name)
{
    const char* value = std::getenv(name.c_str());
    return value ? std::optional<std::string>{value} : std::nullopt;
}

bool is_set(const char* name)
{
    const char* value = std::getenv(name);
    return value && *value != '\0';
}

/// SIGUSR1 as a descriptor; -1: the system has none left.
int open_dump_signals()
{
    ::sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    return ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

Session::Place make_place(const Settings& settings)
{
    const bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
    const bool is_dumb = read_environment("TERM").value_or("dumb") == "dumb";
    const auto& output = settings.output;
    Session::Place place;
    place.style.is_terminal = is_terminal;
    place.style.has_colour = is_terminal && !is_dumb && !is_set("NO_COLOR");
    // What is typed stands on the terminal already.
    place.shows_sent = is_terminal && (settings.input.echoes || ::isatty(STDIN_FILENO) != 1);
    if (is_terminal && !is_dumb && !output.is_quiet && ::isatty(STDERR_FILENO) == 1)
        place.state_line = STDERR_FILENO;
    if (settings.dumps)
        place.dump_signals = open_dump_signals();
    return place;
}

/// A reader who has seen enough of it is no mistake of anybody's.
int print_help(const std::string& text)
{
    const bool is_printed = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
    if (is_printed || errno == EPIPE)
        return exit_status::clean;
    tell(fmt::format("sidecar-cat: standard output: {}\n", std::strerror(errno)));
    return exit_status::stopped_uncleanly;
}

int run(int argc, char** argv)
{
    const SecretSources sources{.file = read_file, .environment = read_environment};
    const auto parsed = parse_command_line({argv + 1, argv + argc}, sources);
    if (const auto* exit = std::get_if<EarlyExit>(&parsed)) {
        if (exit->status == exit_status::clean)
            return print_help(exit->text);
        tell(exit->text);
        return exit->status;
    }
    const auto& settings = std::get<Settings>(parsed);
    Session session{settings, make_place(settings)};
    return session.run();
}

} // namespace

int main(int argc, char** argv)
{
    open_standard_descriptors();
    std::signal(SIGPIPE, SIG_IGN); // writing says it, where it matters
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        sidecar_cat::tell(fmt::format("sidecar-cat: {}\n", error.what()));
        return sidecar_cat::exit_status::could_not_connect;
    }
}
