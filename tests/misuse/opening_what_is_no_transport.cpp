// expect: a transport needs: .*Options
#include <sidecar/sidecar.hpp>

using namespace std::chrono_literals;

struct Nothing {};

void use(sidecar::Feed& feed) { (void)feed.open<Nothing>({}, 5s); }
