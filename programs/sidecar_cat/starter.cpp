#include "starter.hpp"

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace sidecar_cat {
namespace {

/// While it lives, no signal reaches this thread, nor those that it starts, for their whole life.
class WithoutSignals {
public:
    WithoutSignals() noexcept
    {
        ::sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    WithoutSignals(const WithoutSignals&) = delete;
    WithoutSignals& operator=(const WithoutSignals&) = delete;
    ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
    ::sigset_t before_{};
};

} // namespace

Starter::Starter(sidecar::Feed& feed, sidecar::Duration timeout)
    : done_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}
{
    if (done_ < 0)
        throw std::system_error{errno, std::generic_category(), "eventfd"};
    const WithoutSignals without_signals;
    thread_ = std::thread{[this, &feed, timeout] {
        result_ = feed.start(timeout);
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto wrote = ::write(done_, &one, sizeof one);
    }};
}

Starter::~Starter()
{
    if (thread_.joinable())
        thread_.join();
    ::close(done_);
}

sidecar::Result<void> Starter::result()
{
    thread_.join();
    is_taken_ = true;
    return *result_;
}

} // namespace sidecar_cat
