// expect: a framing needs: .*encode
#include <sidecar/transports/tcp.hpp>

struct Half {
    sidecar::Decoded decode(std::span<const std::byte>, std::size_t) { return {}; }
};

void use(sidecar::Tcp<Half>::Options options) { (void)options; }
