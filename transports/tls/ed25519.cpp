#include "ed25519.hpp"

#include "openssl.hpp"

#include <cstddef>

namespace sidecar::stream {
namespace {

const unsigned char* octets(std::string_view bytes)
{
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

} // namespace

Result<Ed25519Signature> ed25519_sign(std::string_view seed, std::string_view message)
{
    Ed25519Signature result{.public_key = std::string(32, '\0'),
                            .signature = std::string(64, '\0')};
    auto key_size = result.public_key.size();
    auto signature_size = result.signature.size();
    const KeyPtr key{
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, octets(seed), seed.size())};
    const DigestContextPtr context{EVP_MD_CTX_new()};
    if (key && context
        && EVP_PKEY_get_raw_public_key(
               key.get(), reinterpret_cast<unsigned char*>(result.public_key.data()), &key_size)
               == 1
        && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1
        && EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(result.signature.data()),
                          &signature_size, octets(message), message.size())
               == 1)
        return result;
    return Failure{Error::no_resources,
                   {.attempted = "sign with Ed25519", .explanation = take_error_text()}};
}

} // namespace sidecar::stream
