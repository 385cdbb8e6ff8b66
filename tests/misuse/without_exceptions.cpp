// expect: Sidecar needs exceptions, by which coroutines report: compile without -fno-exceptions
// flags: -fno-exceptions
#include <sidecar/sidecar.hpp>
