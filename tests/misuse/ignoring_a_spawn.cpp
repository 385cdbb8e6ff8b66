// expect: ignoring return value .*nodiscard
#include <sidecar/feed.hpp>

void use(sidecar::Feed& feed)
{
    feed.spawn("job", [](sidecar::Context) -> sidecar::Task<> { co_return; });
}
