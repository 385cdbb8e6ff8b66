// Where the sockets of a test are, and a user who may not reach them.
#pragma once

#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

/// A directory of the test's own.
struct Directory {
    Directory()
    {
        char name[] = "/tmp/sidecar-unix-XXXXXX";
        path = ::mkdtemp(name);
    }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;
    ~Directory() { std::filesystem::remove_all(path); }
    [[nodiscard]] std::string at(const char* name) const { return path + "/" + name; }
    std::string path;
};

/// While it lives the process is nobody, for to root nothing is forbidden. Who is not root is so
/// already.
class WithoutPrivileges {
public:
    WithoutPrivileges()
    {
        constexpr uid_t nobody = 65534;
        if (was_root_)
            REQUIRE(::seteuid(nobody) == 0);
    }
    WithoutPrivileges(const WithoutPrivileges&) = delete;
    WithoutPrivileges& operator=(const WithoutPrivileges&) = delete;
    ~WithoutPrivileges()
    {
        if (was_root_ && ::seteuid(0) != 0)
            std::abort();
    }

private:
    const bool was_root_ = ::geteuid() == 0;
};
