#include "context.hpp"

#include "last_read.hpp"
#include "text.hpp"
#include "tls.hpp"
#include "uri.hpp"
#include "verify.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>

namespace sidecar::stream {
namespace {

/// An SSL_CTX with a bundle of authorities has a few MiB.
constexpr std::size_t max_contexts = 8;

/// The location of the system's trust store.
struct SystemStore {
    std::string file = X509_get_default_cert_file();
    std::string directories = X509_get_default_cert_dir(); ///< separated by ':'
};

using LastSystemStore = http::LastRead<SystemStore>;

std::vector<std::string> split(std::string_view list)
{
    std::vector<std::string> parts;
    for (; !list.empty(); list.remove_prefix(std::min(list.size(), parts.back().size() + 1)))
        parts.emplace_back(list.substr(0, list.find(':')));
    return parts;
}

bool is_own_trust(const TlsOptions& options)
{
    return !options.ca_file.empty() || !options.ca_directory.empty() || !options.ca_pem.empty();
}

/// Checks the options without reading a file.
Result<void> validate(const TlsOptions& options)
{
    if (options.certificate_file.empty() != options.key_file.empty())
        return bad_tls_option("certificate_file and key_file are needed both, or neither");
    if (!options.server_name.empty() && !http::validate_host_name(options.server_name))
        return bad_tls_option("server_name is neither a host name nor an address");
    return validate_protocols(options);
}

std::string stamp_of(const TlsOptions& options)
{
    std::vector<std::string> paths{options.ca_file, options.ca_directory, options.certificate_file,
                                   options.key_file};
    if (!is_own_trust(options)) {
        const auto [file, directories] = LastSystemStore::get();
        paths.push_back(file);
        for (auto& directory : split(directories))
            paths.push_back(std::move(directory));
    }
    return file_stamps(paths);
}

/// The latest contexts of the process, most recently used first. Never destroyed: a thread that a
/// stop left running may still use it when the process ends.
class Contexts {
public:
    TlsContextPtr find(const TlsOptions& options, const std::string& stamp)
    {
        std::lock_guard lock{mutex_};
        const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) {
            return kept->stamp == stamp && kept->options == options;
        });
        if (found == kept_.end())
            return nullptr;
        std::rotate(kept_.begin(), found, found + 1);
        return kept_.front();
    }
    void keep(TlsContextPtr made)
    {
        std::lock_guard lock{mutex_};
        kept_.insert(kept_.begin(), std::move(made));
        if (kept_.size() > max_contexts)
            kept_.pop_back();
    }

private:
    std::mutex mutex_;
    std::vector<TlsContextPtr> kept_; // both: guarded by mutex_
};

// --- sessions

bool is_worth_keeping(SSL_SESSION* session)
{
    const unsigned char* ticket = nullptr;
    std::size_t ticket_bytes = 0;
    SSL_SESSION_get0_ticket(session, &ticket, &ticket_bytes);
    return SSL_SESSION_is_resumable(session) == 1 && ticket_bytes <= TlsSessions::max_ticket_bytes;
}

int keep_session(SSL* ssl, SSL_SESSION* session)
{
    const auto& check = *static_cast<PeerCheck*>(SSL_get_app_data(ssl));
    try {
        check.context->sessions.put(check.session_key, session);
    } catch (const std::bad_alloc&) { // must not pass through OpenSSL, which is C
    }
    return 0; // the caller keeps its reference
}

} // namespace

bool is_over(SSL_SESSION* session)
{
    const auto now = std::time(nullptr);
    if (now > static_cast<std::time_t>(SSL_SESSION_get_time(session)
                                       + SSL_SESSION_get_timeout(session)))
        return true;
    const auto* certificate = SSL_SESSION_get0_peer(session);
    return certificate && X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
}

void TlsSessions::put(const std::string& key, SSL_SESSION* session)
{
    if (!is_worth_keeping(session))
        return;
    // A copy: OpenSSL forbids resuming its own once the connection ends without close_notify
    SessionPtr copy{SSL_SESSION_dup(session)};
    if (!copy)
        return;
    std::lock_guard lock{mutex_};
    const auto has_key = [&](const Kept& kept) { return kept.key == key; };
    if (std::count_if(kept_.begin(), kept_.end(), has_key)
        >= static_cast<std::ptrdiff_t>(max_per_key))
        kept_.erase(std::find_if(kept_.begin(), kept_.end(), has_key));
    else if (kept_.size() == max_sessions)
        kept_.erase(kept_.begin());
    kept_.push_back({key, std::move(copy)});
}

SessionPtr TlsSessions::take(const std::string& key)
{
    std::lock_guard lock{mutex_};
    for (auto at = kept_.size(); at-- > 0;) {
        if (kept_[at].key != key)
            continue;
        auto session = std::move(kept_[at].session);
        kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(at));
        if (!is_over(session.get()))
            return session;
    }
    return nullptr;
}

void TlsSessions::forget(const std::string& key)
{
    std::lock_guard lock{mutex_};
    std::erase_if(kept_, [&](const Kept& kept) { return kept.key == key; });
}

// --- contexts

namespace {

/// Sets what only clients have: verification, sessions, the offer of ALPN.
Result<void> begin_client(TlsContext& made)
{
    auto* const ssl = made.ssl.get();
    SSL_CTX_set_verify(
        ssl, made.options.insecure_skip_verification ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ssl, keep_session);
    const auto& offer = made.protocols;
    if (!offer.empty()
        && SSL_CTX_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(offer.data()),
                                   static_cast<unsigned>(offer.size()))
               != 0)
        return openssl_failed();
    return {};
}

Result<void> add_authorities(TlsContext& made, const Result<Certificates>& authorities)
{
    if (!authorities)
        return authorities.error();
    for (const auto& certificate : *authorities)
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(made.ssl.get()), certificate.get()) != 1)
            return openssl_failed();
    return {};
}

/// Skips unreadable parts as OpenSSL does. Fails if the system lacked resources, which the next
/// attempt may have.
Result<void> trust_system(TlsContext& made)
{
    const auto [file, directories] = LastSystemStore::get();
    std::vector<Result<Certificates>> parts;
    parts.push_back(read_certificates("the system's trust store", file));
    for (const auto& directory : split(directories))
        parts.push_back(read_directory("the system's trust store", directory));
    for (const auto& part : parts)
        if (part || part.error() == Error::no_resources)
            if (auto done = add_authorities(made, part); !done)
                return done;
    ERR_clear_error();
    return {};
}

Result<void> use_certificate(TlsContext& made)
{
    const auto& options = made.options;
    if (options.certificate_file.empty())
        return {};
    const auto identity = read_identity("", {.certificate_file = options.certificate_file,
                                             .key_file = options.key_file,
                                             .key_password = options.key_password});
    return identity ? present(made.ssl.get(), *identity) : identity.error();
}

Result<TlsContextPtr> make_context(const TlsOptions& options, std::string stamp)
{
    auto made = begin_context(options, std::move(stamp), TlsRole::client);
    if (!made)
        return made.error();
    for (auto* const step : {begin_client, trust_authorities, use_certificate})
        if (auto done = step(**made); !done)
            return done.error();
    ERR_clear_error();
    return TlsContextPtr{*std::move(made)};
}

} // namespace

bool TlsContext::is_system_trust() const noexcept { return !is_own_trust(options); }

Result<std::shared_ptr<TlsContext>> begin_context(TlsOptions options, std::string stamp,
                                                  TlsRole role)
{
    ERR_clear_error();
    std::shared_ptr<TlsContext> made{
        new TlsContext{.options = std::move(options), .stamp = std::move(stamp), .role = role}};
    // OpenSSL must not clean up at exit: a thread that a stop left running may still use it
    if (OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1)
        made->ssl.reset(
            SSL_CTX_new(role == TlsRole::client ? TLS_client_method() : TLS_server_method()));
    if (!made->ssl)
        return openssl_failed();
    auto* const ssl = made->ssl.get();
    // The machine's settings (openssl.cnf) may demand a later version
    const auto ours =
        made->options.minimum == TlsVersion::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    const auto theirs = SSL_CTX_get_min_proto_version(ssl);
    SSL_CTX_set_min_proto_version(ssl, std::max<long>(ours, theirs));
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_cert_verify_callback(ssl, verify_peer, nullptr);
    for (const auto& protocol : made->options.alpn)
        made->protocols += static_cast<char>(protocol.size()) + protocol;
    return made;
}

Result<void> validate_protocols(const TlsOptions& options)
{
    if (options.minimum != TlsVersion::tls_1_2 && options.minimum != TlsVersion::tls_1_3)
        return bad_tls_option("minimum is no version of TLS");
    std::size_t alpn_bytes = 0;
    for (const auto& protocol : options.alpn) {
        if (protocol.empty() || protocol.size() > 255)
            return bad_tls_option("each of alpn has 1 to 255 bytes (RFC 7301)");
        alpn_bytes += 1 + protocol.size();
    }
    if (alpn_bytes > 0xffff)
        return bad_tls_option("alpn is too long");
    return {};
}

Result<void> trust_authorities(TlsContext& made)
{
    if (made.is_system_trust())
        return trust_system(made);
    Result<void> done;
    if (!made.options.ca_file.empty())
        done = add_authorities(made, read_certificates("ca_file", made.options.ca_file));
    if (done && !made.options.ca_pem.empty()) {
        const auto found = parse_certificates("ca_pem", made.options.ca_pem);
        done = found ? add_authorities(made, found) : bad_tls_option(found.error().explanation());
    }
    if (done && !made.options.ca_directory.empty()) {
        const auto found = read_directory("ca_directory", made.options.ca_directory);
        if (found && found->empty())
            return unusable(named("ca_directory", made.options.ca_directory)
                            + " holds no certificate under its hashed name (\"openssl rehash\" "
                              "makes them)");
        done = add_authorities(made, found);
    }
    // The given certificates are trusted even if they are no roots: an intermediate, or the peer's
    // own
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(made.ssl.get()), X509_V_FLAG_PARTIAL_CHAIN);
    return done;
}

Result<void> present(SSL_CTX* ssl, const Identity& identity)
{
    if (SSL_CTX_use_cert_and_key(ssl, identity.chain.front().get(), identity.key.get(),
                                 identity.issuers.get(), 1)
        != 1)
        return unusable(fmt::format("{} cannot be used: {}", identity.name, take_error_text()));
    return {};
}

Failure bad_tls_option(std::string why)
{
    return {Error::bad_options,
            {.attempted = "prepare TLS", .explanation = std::move(why), .is_passing = false}};
}

void read_trust_environment()
{
    SystemStore store;
    if (const char* file = ::secure_getenv(X509_get_default_cert_file_env())) // as OpenSSL does
        store.file = file;
    if (const char* directories = ::secure_getenv(X509_get_default_cert_dir_env()))
        store.directories = directories;
    LastSystemStore::set(std::move(store));
}

Result<TlsContextPtr> prepare_tls(const TlsOptions& options, const std::string& endpoint)
{
    static auto& contexts = *new Contexts;
    const auto refused = [&](const Failure& why) {
        return why.with_attempt(why.attempted(), endpoint);
    };
    if (auto valid = validate(options); !valid)
        return refused(valid.error());
    auto stamp = stamp_of(options);
    if (auto found = contexts.find(options, stamp))
        return found;
    auto made = make_context(options, std::move(stamp));
    if (!made)
        return refused(made.error());
    contexts.keep(*made);
    return made;
}

Failure openssl_failed()
{
    return {Error::tls_failed,
            {.attempted = "prepare TLS",
             .explanation = "OpenSSL cannot be used: " + take_error_text()}};
}

} // namespace sidecar::stream
