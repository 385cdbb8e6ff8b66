// expect: poll\(\) takes a handler .*const sidecar::MessageView&
#include <sidecar/feed.hpp>

void use(sidecar::Feed& feed)
{
    (void)feed.poll([](int) {});
}
