// expect: poll\(\) takes a handler that is a plain function
#include <sidecar/feed.hpp>

sidecar::Task<> later(sidecar::MessageView) { co_return; }

void use(sidecar::Feed& feed)
{
    (void)feed.poll([](const sidecar::MessageView& message) { return later(message); });
}
