#include "tls_memory.hpp"

#include <utility>

namespace sidecar::stream {
namespace {

/// More than this is not kept: only a handshake with a very long chain of ours needs it.
constexpr std::size_t most_output_bytes = 128u << 10;

// One of each; TLS within TLS, or a link with leftovers, takes fresh ones
thread_local std::unique_ptr<TlsInput> spare_input;
thread_local std::vector<std::byte> spare_output;

} // namespace

std::unique_ptr<TlsInput> lend_input()
{
    if (spare_input)
        return std::move(spare_input);
    return std::unique_ptr<TlsInput>{new TlsInput}; // not make_unique, which would fill it
}

void give_back(std::unique_ptr<TlsInput> input) noexcept
{
    if (input)
        spare_input = std::move(input);
}

std::vector<std::byte> lend_output() noexcept { return std::exchange(spare_output, {}); }

void give_back(std::vector<std::byte>& output) noexcept
{
    output.clear();
    if (output.capacity() <= most_output_bytes && output.capacity() > spare_output.capacity())
        spare_output = std::move(output);
    output = {};
}

} // namespace sidecar::stream
