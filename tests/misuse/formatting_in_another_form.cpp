// expect: there_is_no_form_but_l_and_t|call to consteval function
#include <sidecar/format.hpp>

#include <fmt/format.h>

std::string use(const sidecar::Stats& stats) { return fmt::format("{:x}", stats); }
