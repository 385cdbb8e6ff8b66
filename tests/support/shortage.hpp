// A process that runs out of descriptors.
#pragma once

#include "support/sanitized.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <vector>

/// The sanitizer of undefined behaviour, which goes with that of addresses, looks at memory by way of
/// a pipe; without descriptors it takes every object for a bad one.
inline constexpr bool needs_descriptors = is_sanitized && !is_thread_sanitized;

/// A low limit, and all descriptors below it in use but for `left`.
class Shortage {
public:
    explicit Shortage(std::size_t left)
    {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        held_.push_back(lowest);
        rlimit low = before_;
        low.rlim_cur = 256;
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
        take_all();
        for (; left != 0; --left)
            give_one();
    }
    Shortage(const Shortage&) = delete;
    Shortage& operator=(const Shortage&) = delete;
    ~Shortage()
    {
        while (!held_.empty())
            give_one();
        ::setrlimit(RLIMIT_NOFILE, &before_);
    }
    /// Also those that somebody else, such as a look-up of an earlier test, has given back since.
    void take_all()
    {
        for (int fd = 0; (fd = ::fcntl(held_.front(), F_DUPFD_CLOEXEC, 0)) >= 0;)
            held_.push_back(fd);
        REQUIRE(errno == EMFILE);
    }

private:
    void give_one()
    {
        ::close(held_.back());
        held_.pop_back();
    }
    rlimit before_{};
    std::vector<int> held_;
};
