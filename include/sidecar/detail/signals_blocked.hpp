// Blocks signals while a thread is made.
#pragma once

#include <csignal>
#include <initializer_list>
#include <pthread.h>

namespace sidecar::detail {

/// While it lives, the calling thread blocks all signals, and so does each thread that it makes: a
/// thread inherits the mask. So no thread of ours takes a signal of the process. An application
/// that waits in sigwait() with all its own threads blocked would miss that signal. Signals of a
/// thread's own faults (SIGSEGV and its like) stay as they were: otherwise a crash handler would
/// not be called.
class SignalsBlocked {
public:
    SignalsBlocked() noexcept
    {
        ::sigset_t all;
        ::sigfillset(&all);
        for (const int own_fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT})
            ::sigdelset(&all, own_fault);
        ::pthread_sigmask(SIG_BLOCK, &all, &before_);
    }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
    ::sigset_t before_{}; // the calling thread's own
};

} // namespace sidecar::detail
