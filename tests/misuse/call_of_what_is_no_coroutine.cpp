// expect: call\(\) takes a coroutine function: .*sidecar::Task
#include <sidecar/feed.hpp>

void use(sidecar::Feed& feed)
{
    (void)feed.call("job", [](sidecar::Context) { return 1; });
}
