// Signatures with Ed25519, RFC 8032. Private to the transports. A library built without TLS has
// this header too.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/error.hpp>

#include <string>
#include <string_view>

namespace sidecar::stream {

struct Ed25519Signature {
    std::string public_key{}; ///< 32 bytes
    std::string signature{};  ///< 64 bytes
};

/// Signs `message` with the key of a seed of 32 bytes. Keeps no copy of the seed. Side: any thread.
/// Blocks: never. Errors: bad_options if the library was built without TLS; no_resources if OpenSSL
/// has no memory or no Ed25519. No text shows the seed.
[[nodiscard]] SIDECAR_API Result<Ed25519Signature> ed25519_sign(std::string_view seed,
                                                                std::string_view message);

} // namespace sidecar::stream
