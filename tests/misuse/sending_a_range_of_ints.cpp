// expect: send\(\) takes text, a contiguous range with elements of one byte, or a sidecar::Message
#include <sidecar/feed.hpp>

#include <vector>

void use(sidecar::Feed& feed) { (void)feed.send(std::vector<int>{1, 2}); }
