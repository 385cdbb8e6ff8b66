// The server's end: certificates by name, client certificates, tickets, and new files.
#include "context.hpp"
#include "discard.hpp"
#include "tls.hpp"
#include "tls_stream.hpp"
#include "verify.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

namespace sidecar::stream {

using ClientCertificates = TlsServerOptions::ClientCertificates;

/// Shared by the connections of one acceptor: the latest context, made anew when its files change.
/// Side: any thread.
struct TlsServerContext {
    const TlsServerOptions options; // both: constant
    const std::string endpoint;     // both: constant
    std::mutex mutex{};
    TlsContextPtr latest{};          // both: guarded by mutex
    std::optional<TimePoint> made{}; // both: guarded by mutex; empty: before the first handshake
    TimePoint checked{};             // both: guarded by mutex
    std::string refused_stamp{}; // both: guarded by mutex; of files that were logged as unusable
};

namespace {

/// Between two looks at the files.
constexpr Duration check_interval = std::chrono::seconds{1};
/// A context has the keys of its tickets, so they change at least this often.
constexpr Duration max_context_age = std::chrono::hours{24};

/// A client whose handshake failed gets so much time to read our alert.
constexpr Duration alert_linger = std::chrono::milliseconds{500};
constexpr std::size_t max_lingering_bytes = 256u << 10;

constexpr std::string_view plain_http_text =
    "This port speaks TLS: the URL begins with https or wss.\n";

// --- callbacks of OpenSSL

const TlsContext& context_of(SSL* ssl)
{
    return *static_cast<PeerCheck*>(SSL_get_app_data(ssl))->context;
}

int choose_protocol(SSL* ssl, const unsigned char** chosen, unsigned char* size,
                    const unsigned char* offered, unsigned offered_bytes, void*)
{
    const auto& ours = context_of(ssl).protocols;
    unsigned char* found = nullptr;
    const int outcome =
        SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(ours.data()),
                              static_cast<unsigned>(ours.size()), offered, offered_bytes);
    *chosen = found;
    return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/// Presents the certificates for the asked name, at most one for each kind of key; those of the
/// context if there are none.
int choose_certificate(SSL* ssl, void*)
{
    const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool has_found = false;
    for (const unsigned only : {X509_CHECK_FLAG_NO_WILDCARDS, 0}) { // exact names first
        if (!name || has_found)
            break;
        for (const auto& [_, chain, issuers, key] : context_of(ssl).identities) {
            constexpr unsigned as_clients_do =
                X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
            auto* const certificate = chain.front().get();
            if (X509_check_host(certificate, name, 0, only | as_clients_do, nullptr) != 1)
                continue;
            if (!std::exchange(has_found, true))
                SSL_certs_clear(ssl);
            // Fails for a second one of a kind, which is not needed
            (void)SSL_use_cert_and_key(ssl, certificate, key.get(), issuers.get(), 0);
        }
    }
    ERR_clear_error();
    return 1;
}

/// Asks for a full handshake if the client's certificate has expired since the ticket's.
SSL_TICKET_RETURN judge_ticket(SSL*, SSL_SESSION* session, const unsigned char*, std::size_t,
                               SSL_TICKET_STATUS status, void*)
{
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (is_over(session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

// --- contexts

std::string certificate_prefix(std::size_t number)
{
    return fmt::format("certificates[{}].", number);
}

Result<void> validate(const TlsServerOptions& options)
{
    if (options.certificates.empty())
        return bad_tls_option("certificates is empty, and a server needs one");
    for (std::size_t i = 0; i < options.certificates.size(); ++i) {
        const auto& one = options.certificates[i];
        for (const auto& [file, pem, what] :
             {std::tuple{&one.certificate_file, &one.certificate_pem, "certificate"},
              std::tuple{&one.key_file, &one.key_pem, "key"}})
            if (file->empty() == pem->empty())
                return bad_tls_option(fmt::format(
                    "{0}{1}_file and {0}{1}_pem: one of them is needed{2}", certificate_prefix(i),
                    what, file->empty() ? "" : ", and not both"));
    }
    const bool has_authorities = !options.ca_file.empty() || !options.ca_pem.empty();
    if (options.client_certificates > ClientCertificates::required)
        return bad_tls_option("client_certificates has no such value");
    if (options.client_certificates == ClientCertificates::none && has_authorities)
        return bad_tls_option(
            "ca_file and ca_pem are for client certificates, and client_certificates "
            "is none");
    if (options.client_certificates != ClientCertificates::none && !has_authorities)
        return bad_tls_option(
            "client_certificates needs the authorities that issue them: ca_file or "
            "ca_pem");
    return validate_protocols({.alpn = options.alpn, .minimum = options.minimum});
}

std::string stamp_of(const TlsServerOptions& options)
{
    std::vector<std::string> paths{options.ca_file};
    for (const auto& one : options.certificates)
        paths.insert(paths.end(), {one.certificate_file, one.key_file});
    return file_stamps(paths);
}

Result<void> add_identities(TlsContext& made, const TlsServerOptions& options)
{
    const SslContextPtr trial{SSL_CTX_new(TLS_server_method())}; // for all but the first
    if (!trial)
        return openssl_failed();
    for (const auto& from : options.certificates) {
        auto identity = read_identity(certificate_prefix(made.identities.size()), from);
        Result<void> done;
        if (!identity)
            done = identity.error();
        else if (const auto refusal = judge_dates(identity->chain.front().get()))
            done = unusable(fmt::format("{}: {}", identity->name, describe(*refusal)));
        else
            done = present(made.identities.empty() ? made.ssl.get() : trial.get(), *identity);
        if (!done)
            return from.certificate_file.empty() && from.key_file.empty()
                       ? bad_tls_option(done.error().explanation())
                       : done.error();
        made.identities.push_back(*std::move(identity));
    }
    return {};
}

Result<void> verify_clients(TlsContext& made, ClientCertificates which)
{
    auto* const ssl = made.ssl.get();
    if (which == ClientCertificates::none)
        return {};
    if (auto done = trust_authorities(made); !done)
        return done;
    const auto* const trusted = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ssl));
    for (int i = 0; i < sk_X509_OBJECT_num(trusted); ++i)
        if (auto* const one = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(trusted, i));
            one && SSL_CTX_add_client_CA(ssl, one) != 1)
            return openssl_failed();
    SSL_CTX_set_verify(ssl,
                       which == ClientCertificates::required
                           ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                           : SSL_VERIFY_PEER,
                       nullptr);
    return {};
}

Result<TlsContextPtr> make_server_context(const TlsServerOptions& options, std::string stamp)
{
    const auto made = begin_context({.ca_file = options.ca_file,
                                     .ca_pem = options.ca_pem,
                                     .alpn = options.alpn,
                                     .minimum = options.minimum},
                                    std::move(stamp), TlsRole::server);
    if (!made)
        return made.error();
    if (auto done = add_identities(**made, options); !done)
        return done.error();
    if (auto done = verify_clients(**made, options.client_certificates); !done)
        return done.error();
    auto* const ssl = (*made)->ssl.get();
    if (options.certificates.size() > 1)
        SSL_CTX_set_cert_cb(ssl, choose_certificate, nullptr);
    if (!options.alpn.empty())
        SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, nullptr);
    // Sessions are in the clients' tickets, with the clients' certificates. Without an id context
    // OpenSSL resumes none of a client that has a certificate
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_ticket_cb(ssl, nullptr, judge_ticket, nullptr);
    constexpr std::string_view id = "sidecar";
    SSL_CTX_set_session_id_context(ssl, reinterpret_cast<const unsigned char*>(id.data()),
                                   static_cast<unsigned>(id.size()));
    ERR_clear_error();
    return TlsContextPtr{*made};
}

/// Returns the context for the next handshake: a new one if the files have changed and can be used,
/// or if the latest is old.
TlsContextPtr renew(TlsServerContext& shared, Context ctx)
{
    const std::lock_guard lock{shared.mutex};
    const auto now = ctx.now();
    if (!shared.made)
        shared.made = now;
    if (now < shared.checked + check_interval)
        return shared.latest;
    shared.checked = now;
    const auto stamp = stamp_of(shared.options);
    const bool has_changed = stamp != shared.latest->stamp;
    if (!has_changed && now < *shared.made + max_context_age)
        return shared.latest;
    if (auto next = make_server_context(shared.options, stamp)) {
        shared.latest = *std::move(next);
        shared.made = now;
        shared.refused_stamp.clear();
        if (has_changed)
            ctx.log(LogLevel::info,
                    fmt::format("{}: new files of TLS are in use from now on", shared.endpoint));
    } else if (std::exchange(shared.refused_stamp, stamp) != stamp) {
        ctx.log(
            LogLevel::warning,
            fmt::format("{}: the files of TLS cannot be used, so the earlier certificates stay: "
                        "{}",
                        shared.endpoint, next.error().explanation()));
    }
    return shared.latest;
}

// --- failed handshakes

/// Ends our half and waits a little until the client ends its half.
Task<> linger_for_alert(Context ctx, std::shared_ptr<Stream> below)
{
    error_code gone; // ignored: the client may be gone
    co_await below->shutdown(gone);
    const Discard rest{below, max_lingering_bytes};
    co_await rest.wait(ctx, std::min(ctx.deadline(), deadline_after(ctx.now(), alert_linger)));
}

Task<> answer_plain_http(std::shared_ptr<Stream> below)
{
    const auto answer = fmt::format("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                                    "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
                                    plain_http_text.size(), plain_http_text);
    const boost::asio::const_buffer from = boost::asio::buffer(answer);
    error_code gone;
    (void)co_await below->write_some({&from, 1}, gone);
}

} // namespace

Result<TlsServerContextPtr> prepare_tls_server(const TlsServerOptions& options,
                                               const std::string& endpoint)
{
    auto valid = validate(options);
    auto made = valid ? make_server_context(options, stamp_of(options)) : valid.error();
    if (!made)
        return made.error().with_attempt(made.error().attempted(), endpoint);
    TlsServerContextPtr shared{new TlsServerContext{.options = options, .endpoint = endpoint}};
    shared->latest = *std::move(made);
    return shared;
}

Task<std::shared_ptr<Stream>> secure_server(Context ctx, std::shared_ptr<Stream> below,
                                            TlsServerContextPtr context, std::string endpoint,
                                            std::vector<std::byte> early)
{
    const auto tls = std::make_shared<TlsStream>(below, std::move(early), renew(*context, ctx));
    const auto why = co_await tls->shake_hands();
    if (!why)
        co_return tls;
    if (!tls->speaks_tls() && !http_method_of(tls->heard()).empty())
        co_await answer_plain_http(below);
    co_await linger_for_alert(ctx, below);
    throw Exception{insecure(*why, endpoint)};
}

} // namespace sidecar::stream
