// What the library asks of a compiler and its flags: said at once, and not by pages of errors.
#pragma once

#include <boost/version.hpp>

#if __cplusplus < 202002L
#error "Sidecar needs C++20 or later: compile with -std=c++20"
#endif
#if !defined(__cpp_exceptions)
#error "Sidecar needs exceptions, by which coroutines report: compile without -fno-exceptions"
#endif
#if BOOST_VERSION < 108100
#error "Sidecar needs Boost 1.81 or later (Debian 12: libboost1.81-dev)"
#endif
