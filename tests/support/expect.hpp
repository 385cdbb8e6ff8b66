// What a program without a test framework expects.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>

/// Ends the program, with its name and what did not hold.
inline void expect(bool condition, const char* what)
{
    if (condition)
        return;
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    std::exit(1);
}
