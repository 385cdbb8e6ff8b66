// sidecar-cat: prints a network feed on standard output, sends standard input to it.
#include "options.hpp"
#include "output.hpp"
#include "session.hpp"

#include <csignal>
#include <exception>
#include <fcntl.h>
#include <unistd.h>
#include <variant>

namespace {

using namespace sidecar_cat;

/// Opens closed standard descriptors. Otherwise a socket of ours could get such a number, and other
/// code would write to it.
void open_standard_descriptors()
{
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(descriptor, F_GETFD) < 0) [[maybe_unused]]
            const int opened = ::open("/dev/null", O_RDWR); // takes the lowest free number
}

} // namespace

int main(int argc, char** argv)
{
    open_standard_descriptors();
    std::signal(SIGPIPE, SIG_IGN); // write() reports it
    try {
        auto parsed = parse_command_line({argv + 1, argv + argc});
        if (auto* settings = std::get_if<Settings>(&parsed)) {
            settings->is_terminal = ::isatty(STDOUT_FILENO) == 1;
            return run_session(*settings);
        }
        auto& exit = std::get<EarlyExit>(parsed);
        Output output{exit.status == exit_status::clean ? STDOUT_FILENO : STDERR_FILENO};
        output.write(exit.text, [] { return false; });
        if (exit.status != exit_status::clean || output.error().empty())
            return exit.status;
        complain({}, output.error());
        return exit_status::stopped_uncleanly;
    } catch (const std::exception& error) {
        complain({}, error.what());
        return exit_status::could_not_connect;
    }
}
