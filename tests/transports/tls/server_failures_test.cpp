// Handshakes that clients do not finish: each has its text, each ends, and nothing is left of it.
#include "pair.hpp"
#include "support/footprint.hpp"
#include "tls/errors.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace server_failures_test {

using namespace tls_pair;
using namespace std::chrono_literals;
using namespace std::string_literals;
namespace asio = boost::asio;

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

stream::TlsServerContextPtr shared_by_all()
{
    static const auto shared = prepare({.certificates = {identity("valid")},
                                        .client_certificates = ClientCertificates::optional,
                                        .ca_file = certificate("ca.pem"),
                                        .alpn = {"lines"}});
    return shared;
}

struct Outcome {
    Failure failure;
    std::string answer;
};

/// Sends these bytes, and then the client's end unless it is to stay.
Outcome send(std::string_view bytes, std::size_t per_read = SIZE_MAX)
{
    Pair pair{shared_by_all()};
    pair.server_below->max_per_read = per_read;
    pair.start_server();
    pair.server_below->come(bytes);
    pair.run_until_idle();
    pair.server_below->end_with(asio::error::eof);
    pair.run_until_idle();
    REQUIRE(pair.serving->is_good());
    CHECK_FALSE(pair.server);
    CHECK(pair.server_below->is_shut);
    CHECK(pair.server_failure == Error::tls_failed);
    return {pair.server_failure, pair.server_below->taken};
}

/// The first bytes of OpenSSL's client with these settings.
template <class Settings>
std::string client_hello(const Settings& settings)
{
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context{
        SSL_CTX_new(TLS_client_method()), SSL_CTX_free};
    SSL_CTX_set_security_level(context.get(), 0);
    settings(context.get());
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl{SSL_new(context.get()), SSL_free};
    BIO* const out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
    CHECK(SSL_connect(ssl.get()) == -1);
    char* data = nullptr;
    const auto size = BIO_get_mem_data(out, &data);
    return {data, static_cast<std::size_t>(size)};
}

TEST_CASE("tls server: each client that does not finish has its own text")
{
    const auto hello_of = [](int minimum, int maximum) {
        return client_hello([&](SSL_CTX* ssl) {
            SSL_CTX_set_min_proto_version(ssl, minimum);
            SSL_CTX_set_max_proto_version(ssl, maximum);
        });
    };
    const auto hello_with = [](const char* ciphers) {
        return client_hello([&](SSL_CTX* ssl) {
            SSL_CTX_set_max_proto_version(ssl, TLS1_2_VERSION);
            SSL_CTX_set_cipher_list(ssl, ciphers);
        });
    };
    const auto hello_for = [](std::string protocol) {
        return client_hello([&](SSL_CTX* ssl) {
            protocol.insert(protocol.begin(), static_cast<char>(protocol.size()));
            SSL_CTX_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(protocol.data()),
                                    static_cast<unsigned>(protocol.size()));
        });
    };
    struct Row {
        std::string bytes, explanation;
    };
    const Row rows[] = {
        {"", "the client ended the connection before it began the handshake"},
        {"\x16", "the client ended the connection in the middle of the handshake"},
        {"\x16\x03\x01\x02", "the client ended the connection in the middle of the handshake"},
        {"G", "the client speaks no TLS here: it sent \"G\""},
        {"SSH-2.0-OpenSSH_9.2\r\n", "the client speaks no TLS here: it sent \"SSH-2.0-\"..."},
        {"login: s3cret-password\n", "the client speaks no TLS here: it sent \"login: s\"..."},
        {"\x80\x2e\x01\x03\x01\x00\x15"s, "the client speaks no TLS here: it sent \"\\x80.\\x01"},
        {std::string(5000, '\0'), "the client speaks no TLS here: it sent \"\\x00\\x00"},
        {"\x16\x03\x01\x00\x05hello"s, "the client broke the handshake: "},
        {"\x17\x03\x03\x00\x05hello"s, "the client broke the handshake: "},
        {"\x16\x03\x01\xff\xff"s + std::string(70'000, 'x'), "the client broke the handshake: "},
        {hello_of(TLS1_VERSION, TLS1_1_VERSION),
         "the client wants another protocol version than TLS 1.2 and 1.3"},
        {hello_with("RSA"), "the client offers no cipher that this server and its certificate "
                            "have"},
        {hello_for("other"), "the client offers none of the application protocols of alpn"},
    };
    for (const auto& row : rows)
        for (const std::size_t per_read : {SIZE_MAX, std::size_t{1}}) {
            CAPTURE(row.bytes.substr(0, 20));
            const auto outcome = send(row.bytes, per_read);
            const auto text = outcome.failure.message();
            CAPTURE(text);
            CHECK(has(text, "cannot secure the connection (a client): "));
            const auto shown = per_read == 1 ? row.explanation.find(" it sent") : std::string::npos;
            CHECK(has(outcome.failure.explanation(), row.explanation.substr(0, shown)));
            CHECK_FALSE(has(text, "s3cret"));
        }
}

TEST_CASE("tls server: a client of plain HTTP gets an answer, and its request no line in a log")
{
    for (const std::string method : {"GET", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "PRI"})
        for (const std::size_t per_read : {SIZE_MAX, std::size_t{1}}) {
            const auto outcome =
                send(method + " /feed?token=s3cret HTTP/1.1\r\nHost: h\r\n\r\n", per_read);
            CHECK(outcome.failure.explanation()
                  == "the client speaks no TLS here: it sent a request in plain HTTP, " + method);
            CHECK(outcome.answer.starts_with("HTTP/1.1 400 Bad Request\r\n"));
            CHECK(has(outcome.answer, "Connection: close\r\n"));
            const auto body = outcome.answer.substr(outcome.answer.find("\r\n\r\n") + 4);
            CHECK(has(outcome.answer, "Content-Length: " + std::to_string(body.size()) + "\r\n"));
            CHECK(has(body, "https or wss"));
        }
    CHECK(send("GETTING on\r\n").answer.empty());
}

TEST_CASE("tls server: a client that does not trust the certificate says so")
{
    for (const auto version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        Pair pair{shared_by_all()};
        pair.max_version = version;
        pair.shake_hands({.ca_file = certificate("other-ca.pem")});
        CHECK(pair.server_failure.explanation()
              == "the client refused the handshake with the alert unknown_ca (48): it does not "
                 "trust who issued our certificate");
        CHECK(has(pair.client_failure.explanation(), "unknown issuer"));
    }
}

const TlsOptions with_certificate{.ca_file = certificate("ca.pem"),
                                  .certificate_file = certificate("client.pem"),
                                  .key_file = certificate("client.key")};

TEST_CASE("tls server: a client may end at each byte of its handshake")
{
    for (const auto version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        std::size_t whole = 0;
        for (std::size_t most = 0; whole == 0; ++most) {
            Pair pair{shared_by_all()};
            pair.peer = "cut " + std::to_string(version) + std::to_string(most); // no session
            pair.max_version = version;
            pair.start_server();
            pair.start_client(with_certificate);
            pair.carry(most);
            const std::weak_ptr below = pair.server_below;
            REQUIRE(pair.serving->is_good());
            if (pair.server) {
                whole = most;
                CHECK(pair.server->tls_info()->is_verified);
            } else if (!has(pair.server_failure.explanation(), "the client ended the connection"))
                FAIL(most << " bytes: " << pair.server_failure.message());
            pair.client_below->abort();
            pair.server = nullptr;
            pair.server_below = nullptr;
            pair.run_until_idle();
            REQUIRE(below.expired());
        }
        CHECK(whole > 500);
    }
}

TEST_CASE("tls server: writing may fail at each byte of the server's handshake")
{
    for (const auto version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        bool is_whole = false;
        for (std::size_t most = 0; !is_whole; most += 7) {
            Pair pair{shared_by_all()};
            pair.peer = "unwritten " + std::to_string(version) + std::to_string(most);
            pair.max_version = version;
            pair.server_below->window = most;
            pair.start_server();
            pair.start_client(with_certificate);
            pair.carry();
            is_whole = pair.serving->is_over();
            pair.server_below->fail_writing(asio::error::broken_pipe);
            pair.server_below->end_with(asio::error::connection_reset);
            pair.run_until_idle();
            REQUIRE(pair.serving->is_good());
            if (!pair.server) { // the tickets may fail after the client's Finished
                CHECK(has(pair.server_failure.explanation(), "the client ended the connection"));
                CHECK(pair.server_failure.cause() == asio::error::connection_reset);
            }
            pair.client_below->abort();
            pair.run_until_idle();
        }
    }
}

TEST_CASE("tls server: a slow handshake ends with its cancellation, or with an abort")
{
    for (const bool is_aborted : {false, true})
        for (std::size_t most = 0; most < 1000; most += 50) {
            Pair pair{shared_by_all()};
            pair.peer = "slow " + std::to_string(most);
            asio::cancellation_signal signal;
            bool is_over = false;
            error_code ended;
            asio::co_spawn(
                pair.io,
                [](Pair& p, error_code& ec) -> Task<> {
                    try {
                        (void)co_await stream::secure_server({p.context, TimePoint::max()},
                                                             p.server_below, p.shared, "slow");
                    } catch (const boost::system::system_error& e) {
                        ec = e.code();
                    }
                }(pair, ended),
                asio::bind_cancellation_slot(signal.slot(),
                                             [&](std::exception_ptr) { is_over = true; }));
            pair.start_client(with_certificate);
            const auto bytes = pair.client_below->taken.substr(0, most);
            pair.server_below->come(bytes);
            pair.run_until_idle();
            REQUIRE_FALSE(is_over);
            if (is_aborted)
                pair.server_below->abort();
            else
                signal.emit(asio::cancellation_type::terminal);
            pair.run_until_idle();
            CHECK(is_over);
            CHECK(ended == asio::error::operation_aborted);
            const std::weak_ptr below = pair.server_below;
            pair.server_below = nullptr;
            CHECK(below.expired());
            pair.client_below->abort();
            pair.run_until_idle();
        }
}

TEST_CASE("tls server: a refused client that stays has little time to read why")
{
    for (const Duration until_deadline : {Duration::max(), Duration{20ms}}) {
        Pair pair{shared_by_all()};
        const auto begun = std::chrono::steady_clock::now();
        Failure failure;
        fakes::Run run{pair.io, [](Pair& p, Failure& why, Duration limit) -> Task<> {
                           try {
                               (void)co_await stream::secure_server(
                                   {p.context, deadline_after(p.context.now(), limit)},
                                   p.server_below, p.shared, "a client");
                           } catch (const Exception& e) {
                               why = e.failure();
                           }
                       }(pair, failure, until_deadline)};
        pair.server_below->come("GET / HTTP/1.1\r\n\r\n");
        while (!run.is_over())
            (void)pair.io.run_one_for(20s);
        const auto elapsed = std::chrono::steady_clock::now() - begun;
        CHECK(has(failure.explanation(), "plain HTTP"));
        CHECK(elapsed >= (until_deadline < 1s ? 20ms : 500ms));
        CHECK(elapsed < 10s);
        pair.server_below->abort();
        pair.run_until_idle();
    }
}

/// A client of OpenSSL's against the pair's server, carried by hand.
struct OpensslClient {
    OpensslClient() : context{SSL_CTX_new(TLS_client_method()), SSL_CTX_free}
    {
        SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
        ssl.reset(SSL_new(context.get()));
        SSL_set_bio(ssl.get(), in, out);
        SSL_set_connect_state(ssl.get());
    }
    /// Goes on with the handshake until neither end has more to say; true: it is done.
    bool shake_hands(Pair& pair)
    {
        for (;;) {
            const bool is_done = SSL_do_handshake(ssl.get()) == 1;
            char* data = nullptr;
            const auto size = BIO_get_mem_data(out, &data);
            pair.server_below->come({data, static_cast<std::size_t>(size)});
            (void)BIO_reset(out);
            pair.run_until_idle();
            const auto answer = std::exchange(pair.server_below->taken, {});
            if (size == 0 && answer.empty())
                return is_done;
            BIO_write(in, answer.data(), static_cast<int>(answer.size()));
        }
    }
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context;
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl{nullptr, SSL_free};
    BIO* const in = BIO_new(BIO_s_mem());
    BIO* const out = BIO_new(BIO_s_mem());
};

TEST_CASE("tls server: a client that wants renegotiation is declined")
{
    Pair pair{shared_by_all()};
    OpensslClient client;
    pair.start_server();
    REQUIRE(client.shake_hands(pair));
    REQUIRE(pair.server);
    REQUIRE(SSL_renegotiate(client.ssl.get()) == 1);
    error_code ec;
    fakes::Run reading{pair.io, [](Pair& p, error_code& why) -> Task<> {
                           std::string memory(100, '\0');
                           const stream::ReadBuffers into{asio::buffer(memory)};
                           (void)co_await p.server->read_some(into, why);
                       }(pair, ec)};
    CHECK_FALSE(client.shake_hands(pair));
    CHECK(reading.is_over()); // OpenSSL's client ends the connection then
    CHECK(ec == stream::make_error_code(stream::TlsEnd::renegotiation));
}

TEST_CASE("tls server: a refused client that goes on sending is not waited for without end")
{
    Pair pair{shared_by_all()};
    pair.start_server();
    pair.server_below->come("nothing of TLS" + std::string(1u << 20, 'x'));
    pair.run_until_idle();
    CHECK(pair.serving->is_over());
}

TEST_CASE("tls server: a thousand handshakes leave no memory behind")
{
    const auto shake = [](int i) {
        Pair pair{shared_by_all()};
        pair.peer = "a thousand";
        if (i % 4 == 0) {
            pair.shake_hands({.ca_file = certificate("other-ca.pem")});
            return;
        }
        pair.start_server();
        pair.start_client(i % 2 == 0 ? with_certificate
                                     : TlsOptions{.insecure_skip_verification = true});
        pair.carry(i % 4 == 1 ? 300 : SIZE_MAX);
        pair.client_below->abort();
        pair.run_until_idle();
        CHECK(static_cast<bool>(pair.server) == (i % 4 != 1));
    };
    for (int i = 0; i < 200; ++i)
        shake(i);
    const auto before = Footprint::now();
    for (int i = 0; i < 1000; ++i)
        shake(i);
    const auto after = Footprint::now();
    before.print("before");
    after.print("after");
    CHECK_FALSE(after.has_grown_since(before));
}

} // namespace server_failures_test
