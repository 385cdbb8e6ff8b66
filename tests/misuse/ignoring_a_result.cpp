// expect: ignoring return value .*nodiscard
#include <sidecar/feed.hpp>

using namespace std::chrono_literals;

void use(sidecar::Feed& feed) { feed.start(5s); }
