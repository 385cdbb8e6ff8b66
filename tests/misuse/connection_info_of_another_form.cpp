// expect: connection_info must be: sidecar::ConnectionInfo connection_info\(\)
#include <sidecar/sidecar.hpp>

struct Ticker {
    struct Options {};
    explicit Ticker(const Options&) {}
    sidecar::Task<> connect(sidecar::Context) { co_return; }
    sidecar::Task<> read(sidecar::Context, sidecar::Sink&) { co_return; }
    sidecar::Task<> write(sidecar::Context, sidecar::Batch) { co_return; }
    sidecar::Task<> close(sidecar::Context, sidecar::CloseReason) { co_return; }
    void abort() noexcept {}
    std::string connection_info() const { return "192.0.2.1"; }
};

int main() { sidecar::Sidecar<Ticker> feed{{}}; }
