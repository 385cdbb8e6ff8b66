// Whether a descriptor can be read from now.
#pragma once

#include <poll.h>

inline bool is_readable(int fd)
{
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, 0) == 1;
}
