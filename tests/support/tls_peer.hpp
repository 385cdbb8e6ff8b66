// A TLS server, scripted: it has its records in its hand before they are sent, and does what no
// well-meant library would.
#pragma once

#include "certificates.hpp"
#include "raw_peer.hpp"

#include <openssl/ssl.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

struct TlsPeerOptions {
    std::string certificate = "valid"; ///< of support/make_certificates
    int version = 0;                   ///< TLS1_2_VERSION: this one alone; 0: as the library has it
    bool demands_client = false;       ///< a certificate by the tests' authority
    std::string alpn{};                ///< what it chooses, if it is offered; empty: does without
    bool refuses_name = false;         ///< answers SNI with an alert
    std::string ciphers{};             ///< of TLS 1.2; empty: as the library has it
};

/// What connections to one server share: its certificate, and the key of its tickets.
class TlsServer {
public:
    explicit TlsServer(TlsPeerOptions options = {});
    [[nodiscard]] SSL_CTX* get() const { return context_.get(); }

private:
    TlsPeerOptions options_;
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
};

/// The server's end of one connection, in memory.
class TlsServerEnd {
public:
    explicit TlsServerEnd(const TlsServer& server);

    /// What came from the client.
    void come(std::string_view ciphertext);
    /// What is to go to it; each call takes all that there is.
    [[nodiscard]] std::string take();

    /// Goes on with the handshake; true once it is done. Throws PeerGone where it fails.
    bool shake_hands();
    /// Decrypts what has come, as far as it goes.
    [[nodiscard]] std::string read();
    [[nodiscard]] bool has_heard_goodbye() const;

    // Records, not sent
    [[nodiscard]] std::string seal(std::string_view text);
    [[nodiscard]] std::string seal_goodbye();
    [[nodiscard]] std::string seal_key_update(bool asks_for_one);
    [[nodiscard]] std::string seal_ticket();

    [[nodiscard]] bool is_resumed() const { return SSL_session_reused(ssl_.get()) == 1; }
    /// That the client asked for by SNI.
    [[nodiscard]] std::string asked_name() const;
    [[nodiscard]] std::string client_name() const;
    [[nodiscard]] int version() const { return SSL_version(ssl_.get()); }
    /// The first error, such as the alert that the client sent.
    [[nodiscard]] const std::string& error() const { return error_; }
    [[nodiscard]] SSL* get() const { return ssl_.get(); }

private:
    [[nodiscard]] bool must_wait(int result);

    std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
    BIO* in_;
    BIO* out_;
    std::string error_;
};

/// The same on a connection of a RawPeer.
class TlsConnection {
public:
    TlsConnection(RawConnection& connection, const TlsServer& server) : raw{connection}, end{server}
    {
    }
    void accept();
    void send(std::string_view text) { raw.send(end.seal(text)); }
    /// So many bytes of plaintext.
    std::string read(std::size_t bytes);
    std::string read_until(std::string_view end_of_text);
    /// Reads to the client's close_notify or to the connection's end; true: that came first.
    bool wait_for_goodbye();
    void say_goodbye() { raw.send(end.seal_goodbye()); }

    RawConnection& raw;
    TlsServerEnd end;

private:
    void read_more();
    std::string read_;
};

/// A RawPeer whose script begins where the handshake is done.
class TlsPeer {
public:
    using Script = std::function<void(TlsConnection&)>;
    TlsPeer(TlsPeerOptions options, Script script);
    [[nodiscard]] std::uint16_t port() const { return peer_.port(); }
    [[nodiscard]] bool wait_for_ended(std::size_t connections)
    {
        return peer_.wait_for_ended(connections);
    }
    /// Of the last connection's handshake, where it failed: the peer's words for it. To be asked
    /// when that connection has ended.
    [[nodiscard]] const std::string& error() const { return error_; }

private:
    TlsServer server_;
    Script script_;
    std::string error_;
    RawPeer peer_;
};
