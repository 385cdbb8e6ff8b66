// expect: a transport needs: .*read\(sidecar::Context, sidecar::Sink&\)
#include <sidecar/sidecar.hpp>

struct Ticker {
    struct Options {};
    explicit Ticker(const Options&) {}
    sidecar::Task<> connect(sidecar::Context) { co_return; }
    sidecar::Task<> read(sidecar::Sink&) { co_return; }
    sidecar::Task<> write(sidecar::Context, sidecar::Batch) { co_return; }
    sidecar::Task<> close(sidecar::Context, sidecar::CloseReason) { co_return; }
    void abort() noexcept {}
};

int main() { sidecar::Sidecar<Ticker> feed{{}}; }
