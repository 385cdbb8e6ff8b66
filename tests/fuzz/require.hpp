// What a fuzz target demands.
#pragma once

#include <cstdio>
#include <cstdlib>

inline void require(bool holds, const char* what)
{
    if (!holds) {
        std::fprintf(stderr, "does not hold: %s\n", what);
        std::abort();
    }
}
