// Keeps the signals of the process away from a thread that is being made.
#pragma once

#include <csignal>
#include <initializer_list>
#include <pthread.h>

namespace sidecar::detail {

/// While it lives, the calling thread blocks all signals, and so will a thread that it makes: a
/// thread inherits the mask. So a signal to the process is never taken by a thread of ours, where
/// it would pass by an application that waits for it in sigwait() with all its own threads blocked.
/// What a thread raises by its own fault (SIGSEGV and its like) stays as it was, or a handler that
/// wants to tell of a crash would not be called.
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
