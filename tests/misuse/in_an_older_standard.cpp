// expect: Sidecar needs C\+\+20 or later: -std=c\+\+20; Meson: 'cpp_std=c\+\+20'; CMake: set\(CMAKE_CXX_STANDARD 20\)
// flags: -std=c++17
#include <sidecar/sidecar.hpp>
