// sidecar-cat: a network feed on standard output, standard input on a network feed.
#include "options.hpp"
#include "output.hpp"
#include "session.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <string>
#include <unistd.h>
#include <variant>

namespace {

using namespace sidecar_cat;

/// A closed descriptor would be given to a socket of ours, and others would write to that.
void open_standard_descriptors()
{
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(descriptor, F_GETFD) < 0) [[maybe_unused]]
            const int opened = ::open("/dev/null", O_RDWR); // the lowest that is free
}

/// A reader who leaves early is no mistake.
int print_help(const std::string& text)
{
    const bool is_printed = std::fputs(text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0;
    if (is_printed || errno == EPIPE)
        return exit_status::clean;
    complain({}, "standard output: " + std::string{std::strerror(errno)});
    return exit_status::stopped_uncleanly;
}

int run(int argc, char** argv)
{
    auto parsed = parse_command_line({argv + 1, argv + argc});
    if (const auto* exit = std::get_if<EarlyExit>(&parsed)) {
        if (exit->status == exit_status::clean)
            return print_help(exit->text);
        tell(exit->text);
        return exit->status;
    }
    auto& settings = std::get<Settings>(parsed);
    settings.is_terminal = ::isatty(STDOUT_FILENO) == 1;
    Session session{settings};
    return session.run();
}

} // namespace

int main(int argc, char** argv)
{
    open_standard_descriptors();
    std::signal(SIGPIPE, SIG_IGN); // write() reports it
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        complain({}, error.what());
        return exit_status::could_not_connect;
    }
}
