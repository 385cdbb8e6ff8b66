#include "context.hpp"

#include "engine.hpp"
#include "files.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace sidecar::stream {
namespace {

/// An SSL_CTX with a bundle of authorities has a few MiB.
constexpr std::size_t most_contexts = 8;

Failure bad(std::string why)
{
    return {Error::bad_options, {.attempted = "prepare TLS", .explanation = std::move(why)}};
}

bool is_own_trust(const TlsOptions& options)
{
    return !options.ca_file.empty() || !options.ca_directory.empty() || !options.ca_pem.empty();
}

std::string default_path(const char* variable, const char* otherwise)
{
    const char* set = ::secure_getenv(variable); // as OpenSSL does
    return set ? set : otherwise;
}

/// The context and its options' files, each field with its length before it.
class Digest {
public:
    void add(const std::string& field)
    {
        text_ += fmt::format("{}:", field.size());
        text_ += field;
    }
    [[nodiscard]] std::string finish()
    {
        std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
        SHA256(reinterpret_cast<const unsigned char*>(text_.data()), text_.size(), digest.data());
        OPENSSL_cleanse(text_.data(), text_.size());
        return {reinterpret_cast<const char*>(digest.data()), digest.size()};
    }

private:
    std::string text_;
};

/// The contexts made last, the latest first. For the whole process; never destroyed, since a thread
/// that a stop left alone may still use it when the process ends.
class Contexts {
public:
    std::shared_ptr<const TlsContext> find(const std::string& key)
    {
        std::lock_guard lock{mutex_};
        const auto found = std::find_if(kept_.begin(), kept_.end(),
                                        [&](const auto& kept) { return kept->key() == key; });
        if (found == kept_.end())
            return nullptr;
        std::rotate(kept_.begin(), found, found + 1);
        return kept_.front();
    }
    void keep(std::shared_ptr<const TlsContext> made)
    {
        std::lock_guard lock{mutex_};
        kept_.insert(kept_.begin(), std::move(made));
        if (kept_.size() > most_contexts)
            kept_.pop_back();
    }

private:
    std::mutex mutex_;
    std::vector<std::shared_ptr<const TlsContext>> kept_; // both: guarded by mutex_
};

Contexts& contexts()
{
    static auto& all = *new Contexts;
    return all;
}

/// OpenSSL must not clean up at exit, for the same reason.
void begin_using_openssl()
{
    static const bool is_done = OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1;
    if (!is_done)
        throw std::bad_alloc{};
}

} // namespace

TlsContext::TlsContext(const TlsOptions& options, std::string key)
    : ssl_{SSL_CTX_new(TLS_client_method())},
      key_{std::move(key)},
      minimum_{options.minimum},
      is_system_trust_{!is_own_trust(options)},
      verifies_{!options.insecure_skip_verification}
{
    if (!ssl_)
        throw std::bad_alloc{};
    set_versions();
    SSL_CTX_set_options(ssl_.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ssl_.get(), SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_verify(ssl_.get(), verifies_ ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    offer(options.alpn);
    TlsEngine::install_callbacks(ssl_.get());
}

/// The machine's settings (openssl.cnf) may demand more than we do.
void TlsContext::set_versions()
{
    const auto ours = minimum_ == TlsVersion::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    const auto theirs = SSL_CTX_get_min_proto_version(ssl_.get());
    SSL_CTX_set_min_proto_version(ssl_.get(), std::max<long>(ours, theirs));
}

void TlsContext::offer(const std::vector<std::string>& alpn)
{
    std::string wire;
    for (const auto& protocol : alpn)
        wire += static_cast<char>(protocol.size()) + protocol;
    if (!wire.empty()
        && SSL_CTX_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                                   static_cast<unsigned>(wire.size()))
               != 0)
        throw std::bad_alloc{};
}

Result<std::shared_ptr<const TlsContext>> TlsContext::make(const TlsOptions& options,
                                                           std::string key)
{
    ERR_clear_error();
    const std::shared_ptr<TlsContext> made{new TlsContext{options, std::move(key)}};
    if (auto done = made->trust(options); !done)
        return done.error();
    if (auto done = made->use_certificate(options); !done)
        return done.error();
    ERR_clear_error();
    return std::shared_ptr<const TlsContext>{made};
}

Result<void> TlsContext::trust(const TlsOptions& options)
{
    if (is_system_trust_) {
        if (SSL_CTX_set_default_verify_paths(ssl_.get()) != 1)
            return bad("the system's trust store cannot be used: " + take_error_text());
        return {};
    }
    if (!options.ca_file.empty()) {
        const auto text = read_file("ca_file", options.ca_file);
        if (!text)
            return text.error();
        if (auto done = add_authorities(named("ca_file", options.ca_file), *text); !done)
            return done;
    }
    if (!options.ca_pem.empty())
        if (auto done = add_authorities("ca_pem", options.ca_pem); !done)
            return done;
    if (!options.ca_directory.empty()) {
        if (auto done = check_directory(options.ca_directory); !done)
            return done;
        if (SSL_CTX_load_verify_dir(ssl_.get(), options.ca_directory.c_str()) != 1)
            return bad(named("ca_directory", options.ca_directory) + ": " + take_error_text());
    }
    // What was given is trusted, also if it is no root: an intermediate, or the peer's own
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl_.get()), X509_V_FLAG_PARTIAL_CHAIN);
    return {};
}

Result<void> TlsContext::add_authorities(const std::string& where, const std::string& pem)
{
    const auto found = parse_certificates(where, pem);
    if (!found)
        return found.error();
    for (const auto& certificate : *found)
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl_.get()), certificate.get()) != 1)
            return bad(where + ": " + take_error_text());
    return {};
}

Result<void> TlsContext::use_certificate(const TlsOptions& options)
{
    if (options.certificate_file.empty())
        return {};
    const auto name = named("certificate_file", options.certificate_file);
    const auto text = read_file("certificate_file", options.certificate_file);
    if (!text)
        return text.error();
    const auto chain = parse_certificates(name, *text);
    if (!chain)
        return chain.error();
    auto key_text = read_file("key_file", options.key_file);
    if (!key_text)
        return key_text.error();
    const auto key_name = named("key_file", options.key_file);
    const auto key = parse_key(key_name, *key_text, options.key_password);
    OPENSSL_cleanse(key_text->data(), key_text->size());
    if (!key)
        return key.error();
    if (X509_check_private_key(chain->front().get(), key->get()) != 1) {
        ERR_clear_error();
        return bad(fmt::format("{} is not the key of {}", key_name, name));
    }
    bool is_taken = SSL_CTX_use_certificate(ssl_.get(), chain->front().get()) == 1
                    && SSL_CTX_use_PrivateKey(ssl_.get(), key->get()) == 1;
    for (auto at = chain->begin() + 1; is_taken && at != chain->end(); ++at)
        is_taken = SSL_CTX_add1_chain_cert(ssl_.get(), at->get()) == 1;
    if (!is_taken)
        return bad(fmt::format("{} cannot be used: {}", name, take_error_text()));
    return {};
}

std::string TlsContext::key_of(const TlsOptions& options)
{
    Digest digest;
    const auto add_file = [&](const std::string& path) {
        digest.add(path.empty() ? path : file_stamp(path));
    };
    add_file(options.ca_file);
    add_file(options.ca_directory);
    digest.add(options.ca_pem);
    if (!is_own_trust(options)) {
        add_file(default_path(X509_get_default_cert_file_env(), X509_get_default_cert_file()));
        add_file(default_path(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()));
    }
    add_file(options.certificate_file);
    add_file(options.key_file);
    digest.add(options.key_password);
    for (const auto& protocol : options.alpn)
        digest.add(protocol);
    digest.add(options.minimum == TlsVersion::tls_1_3 ? "1.3" : "1.2");
    digest.add(options.insecure_skip_verification ? "insecure" : "verified");
    return digest.finish();
}

Result<std::shared_ptr<const TlsContext>> tls_context(const TlsOptions& options)
{
    begin_using_openssl();
    auto key = TlsContext::key_of(options);
    if (auto found = contexts().find(key))
        return found;
    auto made = TlsContext::make(options, std::move(key));
    if (made)
        contexts().keep(*made);
    return made;
}

} // namespace sidecar::stream
