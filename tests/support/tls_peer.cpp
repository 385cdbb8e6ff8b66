#include "tls_peer.hpp"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace {

void require(bool is_done, const char* what)
{
    if (!is_done)
        throw std::runtime_error{std::string{"the TLS peer: "} + what};
}

int choose(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
           unsigned offered_bytes, void* wanted)
{
    const auto& text = *static_cast<const std::string*>(wanted);
    if (text.empty())
        return SSL_TLSEXT_ERR_NOACK;
    for (unsigned at = 0; at < offered_bytes; at += 1u + offered[at])
        if (std::string_view{reinterpret_cast<const char*>(offered) + at + 1, offered[at]}
            == text) {
            *chosen = offered + at + 1;
            *size = offered[at];
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int refuse_name(SSL*, int* alert, void*)
{
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

} // namespace

TlsServer::TlsServer(TlsPeerOptions options)
    : options_{std::move(options)}, context_{SSL_CTX_new(TLS_server_method()), SSL_CTX_free}
{
    auto* const context = context_.get();
    SSL_CTX_set_security_level(context, 0); // may be older than what the client takes
    const auto file = certificate(options_.certificate + ".pem");
    const auto key = certificate(options_.certificate + ".key");
    require(SSL_CTX_use_certificate_chain_file(context, file.c_str()) == 1
                && SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1,
            "its certificate");
    SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>("test"), 4);
    SSL_CTX_set_min_proto_version(context, options_.version);
    SSL_CTX_set_max_proto_version(context, options_.version);
    if (!options_.ciphers.empty())
        require(SSL_CTX_set_cipher_list(context, options_.ciphers.c_str()) == 1, "its ciphers");
    SSL_CTX_set_alpn_select_cb(context, choose, &options_.alpn);
    if (options_.refuses_name)
        SSL_CTX_set_tlsext_servername_callback(context, refuse_name);
    if (options_.demands_client) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        require(SSL_CTX_load_verify_file(context, certificate("ca.pem").c_str()) == 1, "its trust");
    }
}

TlsServerEnd::TlsServerEnd(const TlsServer& server)
    : ssl_{SSL_new(server.get()), SSL_free}, in_{BIO_new(BIO_s_mem())}, out_{BIO_new(BIO_s_mem())}
{
    BIO_set_mem_eof_return(in_, -1);
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_accept_state(ssl_.get());
}

void TlsServerEnd::come(std::string_view ciphertext)
{
    BIO_write(in_, ciphertext.data(), static_cast<int>(ciphertext.size()));
}

std::string TlsServerEnd::take()
{
    char* data = nullptr;
    const long size = BIO_get_mem_data(out_, &data);
    std::string text{data, static_cast<std::size_t>(size)};
    (void)BIO_reset(out_);
    return text;
}

bool TlsServerEnd::must_wait(int result)
{
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_READ)
        return true;
    if (error != SSL_ERROR_ZERO_RETURN && error_.empty()) {
        const char* reason = ERR_reason_error_string(ERR_peek_error());
        error_ = reason ? reason : "an error";
    }
    return false;
}

bool TlsServerEnd::shake_hands()
{
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    return result == 1 || (must_wait(result) ? false : throw PeerGone{"handshake"});
}

std::string TlsServerEnd::read()
{
    ERR_clear_error();
    std::string text;
    for (char bytes[16384];;) {
        const int got = SSL_read(ssl_.get(), bytes, sizeof bytes);
        if (got <= 0) {
            if (!must_wait(got) && !has_heard_goodbye())
                throw PeerGone{"read"};
            return text;
        }
        text.append(bytes, static_cast<std::size_t>(got));
    }
}

bool TlsServerEnd::has_heard_goodbye() const
{
    // A fatal alert sets it as well
    return error_.empty() && (SSL_get_shutdown(ssl_.get()) & SSL_RECEIVED_SHUTDOWN) != 0;
}

std::string TlsServerEnd::seal(std::string_view text)
{
    ERR_clear_error();
    if (!text.empty())
        require(SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) > 0, "write");
    return take();
}

std::string TlsServerEnd::seal_goodbye()
{
    ERR_clear_error();
    (void)SSL_shutdown(ssl_.get());
    return take();
}

std::string TlsServerEnd::seal_key_update(bool asks_for_one)
{
    ERR_clear_error();
    require(SSL_key_update(ssl_.get(),
                           asks_for_one ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED)
                    == 1
                && SSL_do_handshake(ssl_.get()) == 1,
            "key update");
    return take();
}

std::string TlsServerEnd::seal_ticket()
{
    ERR_clear_error();
    require(SSL_new_session_ticket(ssl_.get()) == 1 && SSL_do_handshake(ssl_.get()) == 1, "ticket");
    return take();
}

std::string TlsServerEnd::asked_name() const
{
    const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
    return name ? name : "";
}

std::string TlsServerEnd::client_name() const
{
    const auto* shown = SSL_get0_peer_certificate(ssl_.get());
    if (!shown)
        return {};
    char name[100] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, name, sizeof name);
    return name;
}

void TlsConnection::accept()
{
    while (!end.shake_hands()) {
        raw.send(end.take());
        char bytes[4096];
        end.come({bytes, raw.read_some(bytes, sizeof bytes)});
    }
    raw.send(end.take());
    read_ = end.read(); // what came with the end of the handshake
}

void TlsConnection::read_more()
{
    char bytes[32768];
    end.come({bytes, raw.read_some(bytes, sizeof bytes)});
    read_ += end.read();
    raw.send(end.take()); // answers to a KeyUpdate
}

std::string TlsConnection::read(std::size_t bytes)
{
    while (read_.size() < bytes)
        read_more();
    auto text = read_.substr(0, bytes);
    read_.erase(0, bytes);
    return text;
}

std::string TlsConnection::read_until(std::string_view end_of_text)
{
    std::size_t at = 0;
    while ((at = read_.find(end_of_text)) == read_.npos)
        read_more();
    return read(at + end_of_text.size());
}

bool TlsConnection::wait_for_goodbye()
{
    try {
        while (!end.has_heard_goodbye())
            read_more();
    } catch (const PeerGone&) {
    }
    return end.has_heard_goodbye();
}

TlsPeer::TlsPeer(TlsPeerOptions options, Script script)
    : server_{std::move(options)}, script_{std::move(script)}, peer_{[this](RawConnection& raw) {
          TlsConnection connection{raw, server_};
          try {
              connection.accept();
          } catch (const PeerGone&) {
              error_ = connection.end.error();
              raw.send(connection.end.take()); // its alert
              raw.half_close();
              raw.wait_for_end();
              throw;
          }
          script_(connection);
      }}
{
}
