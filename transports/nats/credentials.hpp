// How a client proves to a NATS server who it is: password, token, NKey, credentials file. Private
// to NATS.
#pragma once

#include <sidecar/error.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace sidecar::nats {

/// At most one way is set. All empty: the server asks for nothing.
struct Credentials {
    std::string user{};
    std::string password{};         ///< with `user`
    std::string token{};            ///< with nothing else
    std::string nkey_seed{};        ///< "SU...", 58 characters
    std::string credentials_file{}; ///< path of a file with a JWT and a seed
};

/// A field of CONNECT; its value is a JSON string, not yet escaped.
struct ConnectField {
    std::string_view name{}; ///< "user", "pass", "auth_token", "nkey", "jwt" or "sig"
    std::string value{};     ///< no text may show it, but those of "user" and "nkey"
};

/// Checks what needs no file. Side: any thread. Blocks: never. Errors: bad_options; the explanation
/// shows no part of a secret.
[[nodiscard]] Result<void> validate(const Credentials& credentials);

/// Returns the fields for a connection. Reads the file anew, signs the server's nonce (empty: it
/// sent none, so nothing is signed), and wipes the copies of the seed. Side: any thread. Blocks:
/// while it reads a regular file. Errors: bad_options, passing if the file may change before the
/// next attempt; no_resources. The explanation names file and line, and shows no secret.
[[nodiscard]] Result<std::vector<ConnectField>> connect_fields(const Credentials& credentials,
                                                               std::string_view nonce);

/// Encodes a key with its prefix in front, as NATS writes it: base32 with a checksum, "UA...".
[[nodiscard]] std::string encode_nkey(std::string_view prefixed_key);

} // namespace sidecar::nats
