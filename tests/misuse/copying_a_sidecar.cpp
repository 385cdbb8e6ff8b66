// expect: use of deleted function .*Sidecar|call to (implicitly-)?deleted (copy )?constructor of .*Sidecar
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>

int main()
{
    sidecar::Sidecar<sidecar::Mock> feed{{}};
    auto copy = feed;
}
