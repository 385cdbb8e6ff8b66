// Our client and our server, on two streams between which the test carries the bytes.
#pragma once

#include "../stream/fakes.hpp"
#include "support/certificates.hpp"
#include "tls/context.hpp"
#include "tls/tls.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tls_pair {

using namespace sidecar;
using ClientCertificates = TlsServerOptions::ClientCertificates;

inline TlsServerOptions::Certificate identity(const std::string& name)
{
    return {.certificate_file = certificate(name + ".pem"), .key_file = certificate(name + ".key")};
}

inline stream::TlsServerContextPtr prepare(const TlsServerOptions& options)
{
    return stream::prepare_tls_server(options, "tls://localhost:1").value();
}

struct Pair {
    explicit Pair(stream::TlsServerContextPtr with) : shared{std::move(with)} {}
    explicit Pair(const TlsServerOptions& options) : Pair{prepare(options)} {}

    void start_server()
    {
        serving.emplace(io, [](Pair& pair) -> Task<> {
            try {
                pair.server = co_await stream::secure_server(
                    {pair.context, TimePoint::max()}, pair.server_below, pair.shared, "a client",
                    std::exchange(pair.early, {}));
            } catch (const Exception& e) {
                pair.server_failure = e.failure();
                pair.server_below->abort();
            }
        }(*this));
        run_until_idle();
    }
    void start_client(TlsOptions options = {.ca_file = certificate("ca.pem")})
    {
        connecting.emplace(io, [](Pair& pair, TlsOptions with) -> Task<> {
            try {
                const auto shared = stream::prepare_tls(with, "a server").value();
                if (SSL_CTX_get_max_proto_version(shared->ssl.get()) != pair.max_version)
                    SSL_CTX_set_max_proto_version(shared->ssl.get(), pair.max_version);
                pair.client =
                    co_await stream::secure({pair.context, TimePoint::max()}, pair.client_below,
                                            shared, "localhost", pair.peer);
            } catch (const Exception& e) {
                pair.client_failure = e.failure();
                pair.client_below->abort();
            }
        }(*this, std::move(options)));
        run_until_idle();
    }
    void run_until_idle() { fakes::run_until_idle(io); }
    /// Carries until both ends are silent; at most `most` bytes of the client's, then its end.
    void carry(std::size_t most = SIZE_MAX)
    {
        for (run_until_idle(); !client_below->taken.empty() || !server_below->taken.empty();) {
            const auto bytes = std::exchange(client_below->taken, {});
            server_below->come(bytes.substr(0, most - std::min(most, carried)));
            carried += bytes.size();
            if (carried >= most)
                server_below->end_with(boost::asio::error::eof);
            client_below->come(std::exchange(server_below->taken, {}));
            run_until_idle();
        }
        if (client_below->is_shut || server_below->is_shut) {
            (client_below->is_shut ? server_below : client_below)
                ->end_with(boost::asio::error::eof);
            run_until_idle();
        }
    }
    /// Both ends to the end of their handshakes, and the server's tickets to the client.
    void shake_hands(TlsOptions options = {.ca_file = certificate("ca.pem")})
    {
        start_server();
        start_client(std::move(options));
        carry();
        if (client) { // takes tickets in, or the server's refusal
            client_error = {};
            std::string memory(16, '\0');
            (void)client->try_read({boost::asio::buffer(memory)}, client_error);
        }
        if (!serving->is_over()) { // it waits until the client is gone
            server_below->end_with(boost::asio::error::eof);
            run_until_idle();
        }
    }
    [[nodiscard]] bool is_secure() const { return client && server; }
    /// What comes out at `to` of what is written at `from`.
    std::string pass(stream::Stream& from, stream::Stream& to, std::string text)
    {
        fakes::Run writing{io, [](stream::Stream& out, const std::string& bytes) -> Task<> {
                               error_code ec;
                               const boost::asio::const_buffer whole = boost::asio::buffer(bytes);
                               (void)co_await out.write_some({&whole, 1}, ec);
                           }(from, text)};
        carry();
        std::string memory(text.size() + 1, '\0');
        error_code ec;
        memory.resize(to.try_read({boost::asio::buffer(memory)}, ec));
        return memory;
    }

    boost::asio::io_context io;
    fakes::FakeContext context{io};
    std::shared_ptr<fakes::FakeStream> client_below = std::make_shared<fakes::FakeStream>(io);
    std::shared_ptr<fakes::FakeStream> server_below = std::make_shared<fakes::FakeStream>(io);
    stream::TlsServerContextPtr shared;
    std::vector<std::byte> early;  // of the client's bytes, read before the server starts
    std::string peer = "a server"; // the client's sessions are by its name
    int max_version = 0;           // TLS1_2_VERSION or TLS1_3_VERSION; 0: either
    std::shared_ptr<stream::Stream> client, server;
    std::optional<fakes::Run> connecting, serving;
    Failure client_failure, server_failure;
    error_code client_error; // of a read after the handshake
    std::size_t carried = 0; // of the client's bytes
};

} // namespace tls_pair
