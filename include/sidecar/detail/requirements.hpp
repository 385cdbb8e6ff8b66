// Checks the compiler, its flags and Boost, so that a mismatch is one error instead of pages.
#pragma once

#include <boost/version.hpp>

#if __cplusplus < 202002L
#error                                                                                             \
    "Sidecar needs C++20 or later: -std=c++20; Meson: 'cpp_std=c++20'; CMake: set(CMAKE_CXX_STANDARD 20)"
#endif
#if !defined(__cpp_exceptions)
#error "Sidecar needs exceptions, by which coroutines report: compile without -fno-exceptions"
#endif
#if BOOST_VERSION < 108100
#error "Sidecar needs Boost 1.81 or later (Debian 12: libboost1.81-dev)"
#endif
