// The exit status of sidecar-cat.
#pragma once

namespace sidecar_cat {

namespace exit_status {
constexpr int clean = 0;
constexpr int could_not_connect = 1;
constexpr int usage = 2;
constexpr int link_lost = 3;
constexpr int stopped_uncleanly = 4;
} // namespace exit_status

} // namespace sidecar_cat
