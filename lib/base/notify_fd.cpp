#include "base/notify_fd.hpp"

#include <sidecar/error.hpp>

#include <cerrno>
#include <cstdint>
#include <sys/eventfd.h>
#include <unistd.h>

namespace sidecar::detail {

NotifyFd::NotifyFd() : fd_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}
{
    if (fd_ < 0)
        throw Exception{Failure{Error::no_resources,
                                {.attempted = "make an event descriptor",
                                 .cause = error_code{errno, boost::system::system_category()}}}};
}

NotifyFd::~NotifyFd() { ::close(fd_); }

void NotifyFd::raise() const noexcept
{
    const auto saved = errno; // a signal handler must not change it
    const std::uint64_t one = 1;
    // Fails if the counter is full: the descriptor is readable already.
    [[maybe_unused]] const auto written = ::write(fd_, &one, sizeof one);
    errno = saved;
}

void NotifyFd::lower() const noexcept
{
    std::uint64_t count;
    // Fails if the counter is 0: the descriptor is lowered already.
    [[maybe_unused]] const auto got = ::read(fd_, &count, sizeof count);
}

} // namespace sidecar::detail
