#include <sidecar/signals.hpp>

#include "feed/run_registry.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace sidecar {
namespace {

constexpr int signal_limit = 65; // POSIX numbers them from 1; Linux has 64

/// Signals within this time of the first are the same Ctrl-C: `timeout -s INT` sends two, one to the
/// process and one to its group.
constexpr std::uint64_t same_request_ms = 500;

struct Entry {
    std::atomic<std::uint64_t> signals{0}; // a bit for each; 0: the entry is free, or not ready
    /// The first signal, and when it arrived, in ms, above its lowest 8 bits; 0: none yet.
    std::atomic<std::uint64_t> first{0};
    detail::RunRegistry* runs = nullptr; // of the sidecar; written before signals
    ::pid_t process = 0;                 // likewise; a forked child has nothing to stop
    bool is_taken = false;               // guarded by the registry's mutex
};

// All static: a handler may run until the process is gone.
std::array<Entry, 64> entries;
std::atomic<int> handlers_running{0};
std::mutex registry;                       // never locked in a handler
std::array<int, signal_limit> guards_on{}; // guarded by registry
// Written while no handler of ours is installed on that signal
std::array<struct ::sigaction, signal_limit> previous_action;

constexpr int signal_of(std::uint64_t first) noexcept { return static_cast<int>(first & 255); }

/// Async-signal-safe.
std::uint64_t now_ms() noexcept
{
    ::timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000
           + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

constexpr std::uint64_t bit(int signal) noexcept { return std::uint64_t{1} << (signal - 1); }

/// Handles a signal during a stop: the user insists. Restores the previous action and raises again;
/// an ignored signal gets the default action.
void pass_on(int signal) noexcept
{
    auto previous = previous_action[static_cast<std::size_t>(signal)];
    if ((previous.sa_flags & SA_SIGINFO) == 0 && previous.sa_handler == SIG_IGN)
        previous.sa_handler = SIG_DFL;
    ::sigaction(signal, &previous, nullptr);
    ::raise(signal); // delivered when this handler returns, since the signal is blocked meanwhile
}

void on_signal(int signal)
{
    const int saved = errno;
    handlers_running.fetch_add(1);
    bool is_handled = false;
    const auto now = now_ms();
    for (auto& entry : entries) {
        if ((entry.signals.load() & bit(signal)) == 0 || entry.process != ::getpid())
            continue;
        std::uint64_t first = 0;
        if (entry.first.compare_exchange_strong(first,
                                                now << 8 | static_cast<std::uint64_t>(signal))) {
            is_handled = true;
            entry.runs->request_stop();
        } else if (signal_of(first) == signal && now < (first >> 8) + same_request_ms) {
            is_handled = true;
        }
    }
    if (!is_handled)
        pass_on(signal);
    handlers_running.fetch_sub(1);
    errno = saved;
}

Exception refused(Error error, std::string why)
{
    return Exception{
        Failure{error, {.attempted = "stop on signals", .explanation = std::move(why)}}};
}

/// Returns false after a signal was passed on, or once the program has set another handler.
bool is_installed(int signal) noexcept
{
    struct ::sigaction present {};
    return ::sigaction(signal, nullptr, &present) == 0 && present.sa_handler == on_signal;
}

/// With the registry held.
void uninstall(std::uint64_t signals) noexcept
{
    for (int signal = 1; signal < signal_limit; ++signal) {
        const auto at = static_cast<std::size_t>(signal);
        if ((signals & bit(signal)) != 0 && --guards_on[at] == 0 && is_installed(signal))
            ::sigaction(signal, &previous_action[at], nullptr);
    }
}

/// With the registry held. Installs all handlers, or none and throws Exception (bad_options).
void install(std::uint64_t signals)
{
    std::uint64_t installed = 0;
    for (int signal = 1; signal < signal_limit; ++signal) {
        const auto at = static_cast<std::size_t>(signal);
        if ((signals & bit(signal)) == 0)
            continue;
        if (!is_installed(signal)) {
            struct ::sigaction action {};
            action.sa_handler = on_signal;
            ::sigemptyset(&action.sa_mask);
            action.sa_flags = SA_RESTART;
            if (::sigaction(signal, nullptr, &previous_action[at]) != 0
                || ::sigaction(signal, &action, nullptr) != 0) {
                uninstall(installed);
                throw refused(Error::bad_options,
                              fmt::format("signal {} cannot be caught", signal));
            }
        }
        ++guards_on[at];
        installed |= bit(signal);
    }
}

} // namespace

SignalGuard::SignalGuard(Feed& feed, std::initializer_list<int> signals) : runs_{feed.owner_}
{
    if (!runs_)
        throw refused(Error::misuse, "this Sidecar was moved from");
    std::uint64_t wanted = 0;
    for (const int signal : signals) {
        if (signal < 1 || signal >= signal_limit)
            throw refused(Error::bad_options, fmt::format("there is no signal {}", signal));
        wanted |= bit(signal);
    }
    std::lock_guard lock{registry};
    for (index_ = 0; index_ < entries.size() && entries[index_].is_taken; ++index_) {
    }
    if (index_ == entries.size())
        throw refused(Error::no_resources, fmt::format("{} guards exist already", entries.size()));
    auto& entry = entries[index_];
    entry.first = 0;
    entry.runs = runs_.get();
    entry.process = ::getpid();
    entry.signals = wanted; // before the handler is installed: a signal must find this entry
    try {
        install(wanted);
    } catch (...) {
        entry.signals = 0;
        throw;
    }
    entry.is_taken = true;
}

SignalGuard::~SignalGuard()
{
    std::lock_guard lock{registry};
    auto& entry = entries[index_];
    uninstall(entry.signals.exchange(0));
    // A handler on another thread may have read the entry already; it ends soon.
    while (handlers_running.load() != 0)
        std::this_thread::yield();
    entry.is_taken = false;
}

int SignalGuard::signal() const noexcept { return signal_of(entries[index_].first.load()); }

} // namespace sidecar
