// expect: spawn\(\) takes a coroutine function: .*sidecar::Context
#include <sidecar/feed.hpp>

void use(sidecar::Feed& feed)
{
    (void)feed.spawn("job", []() -> sidecar::Task<> { co_return; });
}
