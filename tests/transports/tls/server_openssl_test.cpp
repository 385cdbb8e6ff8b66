// The server's end of TLS against `openssl s_client`, on sockets.
#include "pair.hpp"
#include "socket_stream.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace server_openssl_test {

using namespace tls_pair;
namespace asio = boost::asio;

/// Sends each client's first bytes back; one client after the other.
class EchoServer {
public:
    explicit EchoServer(const TlsServerOptions& options) : shared_{prepare(options)}
    {
        asio::co_spawn(io_, serve(), [](std::exception_ptr) {});
        thread_ = std::thread{[this] { io_.run(); }};
    }
    EchoServer(const EchoServer&) = delete;
    EchoServer& operator=(const EchoServer&) = delete;
    ~EchoServer()
    {
        asio::post(io_, [this] { acceptor_.close(); });
        thread_.join();
    }
    /// Runs s_client with these arguments; returns its output. `text` goes to the server at once.
    [[nodiscard]] std::string run(const std::string& arguments, const std::string& text = "hello")
    {
        const auto command =
            "echo " + text + " | timeout 20 openssl s_client -ign_eof -connect 127.0.0.1:"
            + std::to_string(acceptor_.local_endpoint().port()) + " " + arguments + " 2>&1";
        std::FILE* const pipe = ::popen(command.c_str(), "r");
        REQUIRE(pipe);
        std::string output;
        for (std::array<char, 4096> bytes;;) {
            const auto got = std::fread(bytes.data(), 1, bytes.size(), pipe);
            if (got == 0)
                break;
            output.append(bytes.data(), got);
        }
        (void)::pclose(pipe);
        for (std::size_t at = 0; (at = output.find(" = ", at)) != output.npos;)
            output.replace(at, 3, "="); // OpenSSL 3.2 writes names so
        return output;
    }
    /// Waits for the outcome of the latest client: the facts of its TLS, or the failure.
    [[nodiscard]] std::string take_outcome()
    {
        std::unique_lock lock{mutex_};
        CHECK(changed_.wait_for(lock, std::chrono::seconds{20}, [&] { return !outcome_.empty(); }));
        return std::exchange(outcome_, {});
    }

private:
    Task<> serve()
    {
        for (;;) {
            auto socket = co_await acceptor_.async_accept(asio::use_awaitable);
            socket.non_blocking(true);
            std::string outcome;
            const auto below = std::make_shared<stream::SocketStream>(
                stream::SocketStream::Socket{std::move(socket)});
            try {
                const auto tls = co_await stream::secure_server({context_, TimePoint::max()}, below,
                                                                shared_, "a client");
                co_await echo(*tls);
                const auto info = tls->tls_info().value();
                outcome = info.version + (info.is_resumed ? " resumed " : " full ")
                          + (info.is_verified ? "verified " : "") + info.certificate.subject;
            } catch (const Exception& e) {
                outcome = e.failure().explanation();
            }
            below->abort();
            const std::lock_guard lock{mutex_};
            outcome_ = outcome;
            changed_.notify_one();
        }
    }
    static Task<> echo(stream::Stream& tls)
    {
        std::array<char, 100> memory;
        error_code ec;
        const stream::ReadBuffers into{asio::buffer(memory)};
        const auto got = co_await tls.read_some(into, ec);
        const asio::const_buffer from{memory.data(), got};
        if (!ec)
            (void)co_await tls.write_some({&from, 1}, ec);
        co_await tls.shutdown(ec);
        while (!ec) // until the client has read it
            (void)co_await tls.read_some(into, ec);
    }

    asio::io_context io_;
    fakes::FakeContext context_{io_};
    stream::TlsServerContextPtr shared_;
    asio::ip::tcp::acceptor acceptor_{io_,
                                      asio::ip::tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
    std::mutex mutex_;
    std::condition_variable changed_;
    std::string outcome_; // guarded by mutex_
    std::thread thread_;
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

std::string option(const char* name, const std::string& file)
{
    return std::string{" "} + name + " " + certificate(file);
}

TEST_CASE("tls server: openssl s_client speaks with it, or has the reason")
{
    const auto ca = option("-CAfile", "ca.pem");
    const auto client = option("-cert", "client.pem") + option("-key", "client.key");
    constexpr std::string_view asks_by_name =
        "Acceptable client certificate CA names\nCN=Test Authority\n";
    const TlsServerOptions plain{.certificates = {identity("chained"), identity("wrong")},
                                 .alpn = {"b", "a"}};
    TlsServerOptions newest{.certificates = {identity("valid")}, .minimum = TlsVersion::tls_1_3};
    TlsServerOptions required{.certificates = {identity("valid")},
                              .client_certificates = ClientCertificates::required,
                              .ca_pem = Certificates::all().text("ca.pem")};
    struct Row {
        const TlsServerOptions& server;
        std::string arguments;
        std::string_view client_has, client_has_too;
        std::string outcome;
    };
    const Row rows[] = {
        {plain, "-tls1_2 -servername localhost" + ca, "Verification: OK", "hello", "TLSv1.2 full "},
        {plain, "-tls1_3 -servername localhost" + ca, "Verification: OK", "hello", "TLSv1.3 full "},
        {plain, "-servername a.example", "subject=CN=wrong", "hello", "TLSv1.3 full "},
        {plain, "-noservername", "subject=CN=chained", "Middle Authority", "TLSv1.3 full "},
        {plain, "-alpn a,b", "ALPN protocol: b", "hello", "TLSv1.3 full "},
        {plain, "-alpn c", "alert no application protocol", "",
         "the client offers none of the application protocols of alpn"},
        {plain, "-tls1_1 -cipher ALL:@SECLEVEL=0", "alert protocol version", "",
         "the client wants another protocol version than TLS 1.2 and 1.3"},
        {newest, "-tls1_2", "alert protocol version", "",
         "the client wants another protocol version than TLS 1.3"},
        {newest, "", "New, TLSv1.3", "hello", "TLSv1.3 full "},
        {plain, "-tls1_2 -cipher aRSA", "alert handshake failure", "",
         "the client offers no cipher that this server and its certificate have"},
        {plain, "-verify_return_error" + option("-CAfile", "other-ca.pem"), "verify error", "",
         "the client refused the handshake with the alert unknown_ca (48): it does not trust who "
         "issued our certificate"},
        {required, "-tls1_2" + client, asks_by_name, "hello", "TLSv1.2 full verified client"},
        {required, "-tls1_3" + client, asks_by_name, "hello", "TLSv1.3 full verified client"},
        {required, "-tls1_2", "alert handshake failure", "",
         "the client has no certificate, and needs one"},
        // The text that the client sends at once must not destroy the alert
        {required, "-tls1_3", "alert certificate required", "",
         "the client has no certificate, and needs one"},
        {required, option("-cert", "unknown.pem") + option("-key", "unknown.key"),
         "alert unknown ca", "",
         "unknown issuer: the certificate of \"unknown\" was issued by \"Other Authority\", which "
         "is not in the authorities given and which the client did not send"},
    };
    for (const auto& row : rows) {
        EchoServer server{row.server};
        const auto output = server.run(row.arguments);
        CAPTURE(row.arguments);
        CAPTURE(output);
        CHECK(has(output, row.client_has));
        CHECK(has(output, row.client_has_too));
        CHECK(server.take_outcome() == row.outcome);
    }
}

TEST_CASE("tls server: openssl s_client resumes its session, with its certificate")
{
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
        EchoServer server{{.certificates = {identity("valid")},
                           .client_certificates = ClientCertificates::required,
                           .ca_file = certificate("ca.pem")}};
        const auto session = certificate("session" + version);
        const auto client = version + option("-cert", "client.pem") + option("-key", "client.key");
        const auto first = server.run(client + " -sess_out " + session);
        CHECK(has(server.take_outcome(), " full verified client"));
        const auto second = server.run(client + " -sess_in " + session);
        CAPTURE(second);
        CHECK(has(second, "Reused, TLSv1."));
        CHECK(has(second, "hello"));
        CHECK(has(server.take_outcome(), " resumed verified client"));
    }
}

} // namespace server_openssl_test
