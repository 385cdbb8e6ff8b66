// Owning pointers to OpenSSL's objects. Private to TLS.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace sidecar::stream {

template <auto Function>
struct FreeWith {
    template <class T>
    void operator()(T* object) const noexcept
    {
        Function(object);
    }
};

using SslContextPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;
using SessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, FreeWith<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
inline void free_stack(STACK_OF(X509) * stack) noexcept { sk_X509_free(stack); }
/// A stack that owns none of its certificates.
using CertificatesPtr = std::unique_ptr<STACK_OF(X509), FreeWith<free_stack>>;
using GeneralNamesPtr = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;

/// Returns OpenSSL's text for an error.
[[nodiscard]] inline std::string error_text(unsigned long code)
{
    const char* text = ERR_reason_error_string(code);
    return text ? text : "an error without a name";
}
/// Returns the text of the first error in this thread's queue, and empties the queue.
[[nodiscard]] inline std::string take_error_text()
{
    auto text = error_text(ERR_peek_error());
    ERR_clear_error();
    return text;
}

} // namespace sidecar::stream
