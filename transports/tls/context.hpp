// What connections with the same options share: OpenSSL's SSL_CTX. Private to TLS.
#pragma once

#include "openssl.hpp"

#include <sidecar/error.hpp>
#include <sidecar/transports/tls_options.hpp>

#include <memory>
#include <string>
#include <vector>

namespace sidecar::stream {

/// An SSL_CTX made of options: trust, own certificate, versions, what is offered. Shared by the
/// connections under way and by a cache of the process. Invariant: never changed once it is made, so
/// any thread may use it.
class TlsContext {
public:
    /// Reads the files. Errors: bad_options. `key` is what key_of() gives.
    [[nodiscard]] static Result<std::shared_ptr<const TlsContext>> make(const TlsOptions& options,
                                                                        std::string key);
    /// Tells apart options, and what stood in their files; a digest, so no secret is in it.
    [[nodiscard]] static std::string key_of(const TlsOptions& options);

    [[nodiscard]] SSL_CTX* get() const noexcept { return ssl_.get(); }
    [[nodiscard]] const std::string& key() const noexcept { return key_; }
    [[nodiscard]] TlsVersion minimum() const noexcept { return minimum_; }
    [[nodiscard]] bool is_system_trust() const noexcept { return is_system_trust_; }
    [[nodiscard]] bool verifies() const noexcept { return verifies_; }

private:
    TlsContext(const TlsOptions& options, std::string key);
    [[nodiscard]] Result<void> trust(const TlsOptions& options);
    [[nodiscard]] Result<void> add_authorities(const std::string& where, const std::string& pem);
    [[nodiscard]] Result<void> use_certificate(const TlsOptions& options);
    void offer(const std::vector<std::string>& alpn);
    void set_versions();

    SslContextPtr ssl_;
    std::string key_;
    TlsVersion minimum_;
    bool is_system_trust_;
    bool verifies_;
};

/// The context for these options: one that was made before if the files are what they were. The
/// process keeps the last few. Side: any thread. Blocks: while files are read, if they must be.
/// Errors: bad_options.
[[nodiscard]] Result<std::shared_ptr<const TlsContext>> tls_context(const TlsOptions& options);

} // namespace sidecar::stream
