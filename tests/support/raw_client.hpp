// A client without a library: connects to the address that a listener names.
#pragma once

#include <doctest/doctest.h>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

/// Connects to "127.0.0.1:80", "[::1]:80" or "unix:/path"; returns the descriptor, or -errno.
inline int connect_to(const std::string& where)
{
    sockaddr_storage address{};
    socklen_t size = 0;
    if (where.starts_with("unix:")) {
        auto& local = reinterpret_cast<sockaddr_un&>(address);
        local.sun_family = AF_UNIX;
        where.copy(local.sun_path, sizeof local.sun_path - 1, 5);
        if (local.sun_path[0] == '@')
            local.sun_path[0] = '\0';
        size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + where.size() - 5);
    } else {
        const auto colon = where.rfind(':');
        auto host = where.substr(0, colon);
        if (host.front() == '[')
            host = host.substr(1, host.size() - 2);
        addrinfo hints{};
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
        hints.ai_socktype = SOCK_STREAM;
        addrinfo* found = nullptr;
        REQUIRE(::getaddrinfo(host.c_str(), where.c_str() + colon + 1, &hints, &found) == 0);
        std::memcpy(&address, found->ai_addr, found->ai_addrlen);
        size = found->ai_addrlen;
        ::freeaddrinfo(found);
    }
    const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0)
        return fd;
    const int error = errno;
    ::close(fd);
    return -error;
}

inline bool has_ended(int fd)
{
    char byte = 0;
    const auto got = ::recv(fd, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}
