// The descriptors of this process.
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

/// All that are open.
inline std::vector<int> open_descriptors()
{
    std::vector<int> all;
    DIR* const folder = ::opendir("/proc/self/fd");
    while (const auto* entry = ::readdir(folder))
        if (const int fd = std::atoi(entry->d_name);
            entry->d_name[0] != '.' && fd != ::dirfd(folder))
            all.push_back(fd);
    ::closedir(folder);
    return all;
}

/// Those that a child process would inherit over exec, beside the standard ones and `known`; each
/// with what it is.
inline std::string inheritable_descriptors(const std::vector<int>& known)
{
    std::string text;
    for (const int fd : open_descriptors()) {
        bool is_known = fd <= 2;
        for (const int other : known)
            is_known |= fd == other;
        if (const int flags = ::fcntl(fd, F_GETFD);
            is_known || flags < 0 || (flags & FD_CLOEXEC) != 0)
            continue;
        char target[256] = {};
        (void)::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target,
                         sizeof target - 1);
        text += std::to_string(fd) + " " + target + "\n";
    }
    return text;
}

/// The sockets whose other end is this port of the loopback.
inline std::vector<int> sockets_to(std::uint16_t port)
{
    std::vector<int> found;
    for (const int fd : open_descriptors()) {
        sockaddr_in address{};
        socklen_t size = sizeof address;
        if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0
            && address.sin_family == AF_INET && ntohs(address.sin_port) == port)
            found.push_back(fd);
    }
    return found;
}
