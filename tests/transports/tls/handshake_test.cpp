// Real handshakes: which certificates are taken, which are refused, and with which words.
#include "tls/tls.hpp"
#include "trial.hpp"

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

namespace handshake_test {

using namespace sidecar;
using namespace std::chrono_literals;

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

Failure start_against(const std::string& certificate, const std::string& host = "localhost")
{
    return ::start_against(TlsPeerOptions{.certificate = certificate}, trusting(), host);
}

bool is_ascii(const std::string& text)
{
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

TEST_CASE("tls: a certificate for the name that was connected to is taken")
{
    for (const std::string host :
         {"localhost", "LOCALHOST", "localhost.", "feed.example", "a.wild.example", "127.0.0.1"}) {
        CAPTURE(host);
        CHECK(start_against("valid", host).message() == Failure{}.message());
    }
    CHECK(start_against("chained").code() == error_code{});
    CHECK(start_against("address", "127.0.0.1").code() == error_code{});
}

TEST_CASE("tls: each certificate that is refused has its own text")
{
    struct Row {
        const char *certificate, *host, *part;
    };
    const Row rows[] = {
        {"expired", "localhost", "the certificate of \"expired\" expired on 20"},
        {"future", "localhost", "the certificate of \"future\" is not valid before 20"},
        {"wrong", "localhost",
         "issued for \"a.example\", \"b.example\", \"c.example\", \"d.example\" and 2 more instead "
         "of \"localhost\""},
        {"valid", "other.example", "instead of \"other.example\""},
        {"valid", "wild.example", "instead of \"wild.example\""},
        {"valid", "a.b.wild.example", "instead of \"a.b.wild.example\""},
        {"address", "localhost", "issued for \"127.0.0.1\" instead of \"localhost\""},
        {"self-signed", "localhost", "\"self-signed\" is self-signed, and it is not in"},
        {"unknown", "localhost",
         "unknown issuer: the certificate of \"unknown\" was issued by "
         "\"Other Authority\""},
        {"chained-alone", "localhost", "was issued by \"Middle Authority\""},
        {"behind-expired", "localhost",
         "the certificate of the authority \"Late Authority\" expired on"},
        {"common", "localhost", "\"localhost\" names no host or address"},
        {"common-address", "127.0.0.1", "\"127.0.0.1\" names no host or address"},
        {"mixed", "localhost", "issued for \"other.example\" instead of \"localhost\""},
        {"no-server", "localhost", "is not meant for servers (its extended key usage)"},
        {"usage", "localhost", "is not meant for servers (its key usage)"},
        {"valid", "_x.wild.example",
         "instead of \"_x.wild.example\" (a wildcard matches letters, digits and hyphens, not "
         "for '_')"},
    };
    for (const auto& row : rows) {
        const auto failure = start_against(row.certificate, row.host);
        const auto text = failure.message();
        CAPTURE(text);
        CHECK(failure == Error::tls_failed);
        CHECK(failure.attempted() == "secure the connection");
        CHECK(has(text, row.part));
        CHECK(has(text, row.host));
    }
}

TEST_CASE("tls: an address is compared with iPAddress entries, and a name never with them")
{
    const auto failure = start_against("wrong", "127.0.0.1");
    CHECK(has(failure.explanation(), "instead of \"127.0.0.1\""));
    auto tls = trusting();
    tls.server_name = "127.0.0.2";
    const auto other = ::start_against({}, tls);
    CHECK(other == Error::tls_failed);
    CHECK(has(other.explanation(), "instead of \"127.0.0.2\""));
}

TEST_CASE("tls: names in a certificate are a stranger's bytes")
{
    const auto text = start_against("strange").message();
    CHECK(is_ascii(text));
    CHECK(has(text, R"("a\x1b[31m.example")"));
}

TEST_CASE("tls: the system's trust store knows nothing of the tests' authority")
{
    const auto failure = ::start_against(TlsPeerOptions{}, TlsOptions{});
    CHECK(failure == Error::tls_failed);
    CHECK(has(failure.explanation(), "unknown issuer"));
    CHECK(has(failure.explanation(), "the system's trust store"));
}

TEST_CASE("tls: authorities come from a file, a directory or a text, and all count")
{
    const auto ca = Certificates::all().text("ca.pem");
    const auto other = Certificates::all().text("other-ca.pem");
    CHECK(::start_against({}, {.ca_directory = certificate("hashed")}).code() == error_code{});
    CHECK(::start_against({}, {.ca_pem = ca}).code() == error_code{});
    CHECK(::start_against({}, {.ca_pem = "words around it\n" + other + ca + "and behind"}).code()
          == error_code{});
    CHECK(::start_against({}, {.ca_file = certificate("other-ca.pem"), .ca_pem = ca}).code()
          == error_code{});
    CHECK(::start_against({}, {.ca_pem = other}) == Error::tls_failed);
    // What is given is trusted, be it no root
    CHECK(::start_against({.certificate = "chained-alone"}, {.ca_file = certificate("middle.pem")})
              .code()
          == error_code{});
    CHECK(
        ::start_against({.certificate = "self-signed"}, {.ca_file = certificate("self-signed.pem")})
            .code()
        == error_code{});
    CHECK(::start_against({.certificate = "self-signed"}, {.ca_file = certificate("valid.pem")})
          == Error::tls_failed);
}

TEST_CASE("tls: a cross-signed chain is taken whichever of its roots is trusted")
{
    for (const std::string root : {"ca.pem", "other-ca.pem"}) {
        CAPTURE(root);
        CHECK(::start_against({.certificate = "crossed"}, {.ca_file = certificate(root)}).message()
              == Failure{}.message());
    }
    CHECK(::start_against({.certificate = "crossed"}, {.ca_file = certificate("self-signed.pem")})
          == Error::tls_failed);
    CHECK(::start_against({.certificate = "crossed"}, {.ca_file = certificate("ca.pem")},
                          "other.example")
          == Error::tls_failed);
}

TEST_CASE("tls: to skip the verification takes anybody, and each start warns")
{
    for (const std::string name : {"expired", "wrong", "self-signed", "unknown"})
        CHECK(::start_against({.certificate = name}, {.insecure_skip_verification = true}).code()
              == error_code{});

    std::mutex mutex;
    std::vector<std::string> warnings;
    auto options = at_home();
    options.log = [&](LogLevel level, std::string_view text) {
        std::lock_guard lock{mutex};
        if (level == LogLevel::warning && has(std::string{text}, "insecure_skip_verification"))
            warnings.emplace_back(text);
    };
    TlsPeer peer{{.certificate = "expired"}, [](TlsConnection& c) { c.wait_for_goodbye(); }};
    for (std::size_t i = 1; i <= 2; ++i) {
        LinesFeed feed{lines_to(peer.port(), {.insecure_skip_verification = true}), options};
        REQUIRE(feed.start(20s));
        std::lock_guard lock{mutex};
        CHECK(warnings.size() == i);
    }
}

TEST_CASE("tls: SNI asks for the name, without its dot, and never for an address")
{
    struct Row {
        std::string host, server_name, asked;
    };
    const Row rows[] = {{"localhost", "", "localhost"},
                        {"feed.example.", "", "feed.example"},
                        {"127.0.0.1", "", ""},
                        {"127.0.0.1", "feed.example", "feed.example"},
                        {"localhost", "127.0.0.1", ""}};
    for (const auto& row : rows) {
        std::string asked;
        {
            TlsPeer peer{{}, [&](TlsConnection& c) {
                             asked = c.end.asked_name();
                             c.wait_for_goodbye();
                         }};
            auto tls = trusting();
            tls.server_name = row.server_name;
            LinesFeed feed{lines_to(peer.port(), tls, row.host), at_home()};
            CHECK(feed.start(20s));
        }
        CHECK(asked == row.asked);
    }
}

TEST_CASE("tls: versions below the minimum are refused from either side")
{
    const auto old = ::start_against({.version = TLS1_1_VERSION});
    CHECK(old == Error::tls_failed);
    CHECK(has(old.explanation(), "version"));
    auto demanding = trusting();
    demanding.minimum = TlsVersion::tls_1_3;
    const auto newer = ::start_against({.version = TLS1_2_VERSION}, demanding);
    CHECK(newer == Error::tls_failed);
    CHECK(has(newer.explanation(), "version"));
    CHECK(has(newer.explanation(), "TLS 1.3"));
    CHECK(::start_against({.version = TLS1_2_VERSION}).code() == error_code{});
    CHECK(::start_against({.version = TLS1_3_VERSION}, demanding).code() == error_code{});
}

TEST_CASE("tls: the peer's alert is told by its name")
{
    const auto name = ::start_against({.refuses_name = true});
    CHECK(name == Error::tls_failed);
    CHECK(has(name.explanation(), "unrecognized_name (112)"));
    const auto client = ::start_against({.version = TLS1_2_VERSION, .demands_client = true});
    CHECK(client == Error::tls_failed);
    CHECK(has(client.explanation(), "demands a client certificate"));
}

TEST_CASE("tls: a client certificate that TLS 1.3 misses after the handshake is told as well")
{
    const auto failure = ::start_against({.version = TLS1_3_VERSION, .demands_client = true});
    CHECK(failure == Error::tls_failed);
    CHECK(has(failure.message(), "certificate_required (116): it demands a client certificate"));
}

TEST_CASE("tls: a client certificate is shown, its key may be encrypted")
{
    for (const std::string key : {"client.key", "client.enc.key"})
        for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
            std::string shown;
            {
                TlsPeer peer{{.version = version, .demands_client = true}, [&](TlsConnection& c) {
                                 shown = c.end.client_name();
                                 c.wait_for_goodbye();
                             }};
                auto tls = trusting();
                tls.certificate_file = certificate("client.pem");
                tls.key_file = certificate(key);
                tls.key_password = "sesame";
                LinesFeed feed{lines_to(peer.port(), tls), at_home()};
                CHECK(feed.start(20s));
            }
            CHECK(shown == "client");
        }
}

TEST_CASE("tls: application protocols are offered, and what was agreed on is told")
{
    auto tls = trusting();
    tls.alpn = {"lines/1", "lines/0"};
    TlsPeer peer{{.alpn = "lines/0"}, [](TlsConnection& c) { c.wait_for_goodbye(); }};
    LinesFeed feed{lines_to(peer.port(), tls), at_home()};
    REQUIRE(feed.start(20s));
    CHECK(feed.link().value().protocol() == "lines/0");
    tls.alpn = {"other"};
    const auto failure = ::start_against({.alpn = "lines/0"}, tls);
    CHECK(failure == Error::tls_failed);
    CHECK(has(failure.explanation(), "no_application_protocol (120)"));
}

TEST_CASE("tls: files that cannot be used are told before there is a socket, without a secret")
{
    struct Row {
        TlsOptions options;
        const char* part;
    };
    const auto with_key = [](const std::string& file, const std::string& key,
                             const std::string& password = {}) {
        return TlsOptions{.ca_file = certificate("ca.pem"),
                          .certificate_file = file,
                          .key_file = key,
                          .key_password = password};
    };
    const auto client = certificate("client.pem"), key = certificate("client.key"),
               encrypted = certificate("client.enc.key");
    const auto pipe = certificate("a-named-pipe"); // without a writer: opening it would block
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    const Row rows[] = {
        {{.ca_file = "/nowhere/ca.pem"},
         "ca_file \"/nowhere/ca.pem\" cannot be read: No such file or directory"},
        {{.ca_file = certificate("")}, "cannot be read: Is a directory"},
        {{.ca_file = certificate("ca.key")}, "holds no certificate in PEM form"},
        {{.ca_pem = "nothing"}, "ca_pem holds no certificate in PEM form"},
        {{.ca_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
         "ca_pem: its certificate number 1 cannot be read"},
        {{.ca_file = "/dev/null"}, "ca_file \"/dev/null\" is no regular file"},
        {{.ca_file = pipe}, "is no regular file"},
        {with_key(pipe, key), "is no regular file"},
        {with_key(client, pipe), "is no regular file"},
        {{.ca_directory = "/nowhere"}, "ca_directory \"/nowhere\" cannot be read"},
        {{.ca_directory = certificate("")}, "no certificate under its hashed name"},
        {{.certificate_file = client}, "both, or neither"},
        {with_key(client, "/nowhere/key"), "key_file \"/nowhere/key\" cannot be read"},
        {with_key(client, encrypted), "the key is encrypted, and key_password is empty"},
        {with_key(client, encrypted, "tell nobody"), "key_password does not decrypt the key"},
        {with_key(client, client), "holds no private key in PEM form"},
        {with_key(client, certificate("valid.key")), "is not the key of"},
        {{.alpn = {""}}, "1 to 255 bytes"},
        {{.server_name = "two words"}, "server_name"},
    };
    for (const auto& row : rows) {
        const auto failure = stream::prepare_tls(row.options, "localhost:1").error();
        const auto text = failure.message();
        CAPTURE(text);
        CHECK(failure == Error::bad_options);
        CHECK(has(text, row.part));
        CHECK_FALSE(has(text, "tell nobody"));
    }
}

TEST_CASE("tls: a file that has changed counts from the next connection on, for sessions as well")
{
    const auto file = certificate("changing.pem");
    const auto write = [&](const std::string& from) {
        std::filesystem::copy_file(certificate(from), file + ".new");
        std::filesystem::rename(file + ".new", file); // another inode, whatever the clock says
    };
    std::atomic<int> resumed = 0;
    TlsPeer peer{{}, [&](TlsConnection& c) {
                     resumed += c.end.is_resumed();
                     c.send("hello\n");
                     c.wait_for_goodbye();
                     c.say_goodbye();
                 }};
    const auto is_taken = [&] {
        LinesFeed feed{lines_to(peer.port(), {.ca_file = file}), at_home()};
        return feed.start(20s).has_value() && feed.receive(20s).has_value();
    };
    write("other-ca.pem");
    CHECK_FALSE(is_taken());
    write("ca.pem");
    CHECK(is_taken());
    CHECK(is_taken());
    write("other-ca.pem");
    CHECK_FALSE(is_taken());
    write("ca.key"); // no certificate
    CHECK_FALSE(is_taken());
    write("ca.pem");
    CHECK(is_taken());
    REQUIRE(peer.wait_for_ended(5));
    CHECK(resumed == 1);
}

TEST_CASE("tls: a peer that speaks something else is told by what it said")
{
    struct Row {
        std::string said, part;
    };
    const Row rows[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "answered plain HTTP, \"HTTP/1.1 400 Bad Request\""},
        {"220 mail.example\r\n", "it sent \"220 mail.example"},
        {"\xff\xfb\x01", "it sent \"\\xff"},
    };
    for (const auto& row : rows)
        for (const bool is_trickling : {false, true}) {
            RawPeer peer{[&](RawConnection& c) {
                is_trickling ? c.trickle(row.said) : c.send(row.said);
                c.wait_for_end();
            }};
            LinesFeed feed{lines_to(peer.port()), at_home()};
            const auto failure = feed.start(20s).error();
            CAPTURE(failure.message());
            CHECK(failure == Error::tls_failed);
            CHECK(has(failure.explanation(), "speaks no TLS here"));
            if (!is_trickling || row.said[0] == 'H')
                CHECK(has(failure.explanation(), row.part));
        }
}

TEST_CASE("tls: a peer that ends in the handshake is told so, by an end or a reset")
{
    RawPeer silent{[](RawConnection& c) {
        c.read(10);
        c.half_close();
        c.wait_for_end();
    }};
    LinesFeed ended{lines_to(silent.port()), at_home()};
    const auto end = ended.start(20s).error();
    CHECK(end == Error::tls_failed);
    CHECK(has(end.explanation(), "ended the connection before it answered"));

    RawPeer half{[](RawConnection& c) {
        c.read(10);
        c.send("\x16\x03\x03\x01");
        c.half_close();
        c.wait_for_end();
    }};
    LinesFeed cut{lines_to(half.port()), at_home()};
    CHECK(has(cut.start(20s).error().explanation(), "in the middle of the handshake"));

    RawPeer rude{[](RawConnection& c) {
        c.read(10);
        c.reset();
    }};
    LinesFeed reset{lines_to(rude.port()), at_home()};
    const auto failure = reset.start(20s).error();
    CHECK(failure == Error::tls_failed);
    CHECK(failure.cause() == boost::asio::error::connection_reset);
}

TEST_CASE("tls: nothing leaves before the verification, and the peer hears why it failed")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        std::string read, error;
        {
            const TlsServer server{{.certificate = "expired", .version = version}};
            RawPeer peer{[&](RawConnection& raw) {
                TlsConnection c{raw, server};
                try {
                    c.accept();
                    read = c.read(1);
                } catch (const PeerGone&) {
                }
                error = c.end.error();
            }};
            LinesFeed feed{lines_to(peer.port()), at_home()};
            CHECK(feed.start(20s).error() == Error::tls_failed);
            REQUIRE(peer.wait_for_ended(1));
        }
        CHECK(read.empty());
        CHECK(has(error, "certificate expired"));
    }
}

TEST_CASE(
    "tls: a handshake that stalls ends with the start's time, which says where, or with a stop")
{
    RawPeer mute{[](RawConnection& c) { c.wait_for_end(); }};
    LinesFeed feed{lines_to(mute.port()), at_home()};
    const auto failure = feed.start(200ms).error();
    CHECK(failure == Error::timed_out);
    CHECK(has(failure.message(), "in the TLS handshake with 127.0.0.1:"));

    std::thread stopper{[&] {
        while (feed.dump().find("in the TLS handshake") == std::string::npos)
            std::this_thread::yield();
        feed.request_stop();
    }};
    CHECK(feed.start(30s).error() == Error::stopping);
    stopper.join();
    CHECK(feed.stop().total < 1s);
}

TEST_CASE("tls: a session is resumed over reconnects, but never under other trust")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        std::mutex mutex;
        std::vector<bool> resumed;
        TlsPeer peer{{.version = version}, [&](TlsConnection& c) {
                         {
                             std::lock_guard lock{mutex};
                             resumed.push_back(c.end.is_resumed());
                         }
                         c.send("hello\n");
                         c.wait_for_goodbye();
                     }};
        const auto connect = [&](TlsOptions tls, const std::string& host = "localhost") {
            LinesFeed feed{lines_to(peer.port(), std::move(tls), host), at_home()};
            REQUIRE(feed.start(20s));
            REQUIRE(feed.receive(20s)); // the tickets came before it
        };
        const auto pem = Certificates::all().text("ca.pem");
        connect(trusting());
        connect(trusting());
        connect({.ca_pem = pem});
        connect({.ca_pem = pem}, "feed.example");
        connect({.insecure_skip_verification = true});
        connect(trusting());
        connect({.ca_pem = pem});
        REQUIRE(peer.wait_for_ended(7));
        std::lock_guard lock{mutex};
        CHECK(resumed == std::vector{false, true, false, false, false, true, true});
    }
}

TEST_CASE("tls: no session crosses client certificates, keys of ours or options of trust")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION})
        for (const bool demands_client : {false, true}) {
            std::mutex mutex;
            std::vector<bool> resumed;
            std::vector<std::string> shown;
            TlsPeer peer{{.version = version, .demands_client = demands_client},
                         [&](TlsConnection& c) {
                             {
                                 std::lock_guard lock{mutex};
                                 resumed.push_back(c.end.is_resumed());
                                 shown.push_back(c.end.client_name());
                             }
                             c.send("hello\n");
                             c.wait_for_goodbye();
                         }};
            const auto with = [&](TlsOptions tls, const std::string& name) {
                tls.certificate_file = certificate(name + ".pem");
                tls.key_file = certificate(name + ".key");
                return tls;
            };
            const auto connect = [&](TlsOptions tls) {
                LinesFeed feed{lines_to(peer.port(), std::move(tls)), at_home()};
                REQUIRE(feed.start(20s));
                REQUIRE(feed.receive(20s)); // the tickets came before it
            };
            const auto mine = with(trusting(), "client"), other = with(trusting(), "other-client");
            connect(mine);
            connect(mine);
            connect(other);
            connect(other);
            connect(with({.ca_pem = Certificates::all().text("ca.pem")}, "client"));
            connect(with({.ca_directory = certificate("hashed")}, "client"));
            connect(with({.insecure_skip_verification = true}, "client"));
            connect(mine);
            REQUIRE(peer.wait_for_ended(8));
            std::lock_guard lock{mutex};
            CAPTURE(version);
            CAPTURE(demands_client);
            CHECK(resumed == std::vector{false, true, false, true, false, false, false, true});
            if (demands_client)
                CHECK(shown
                      == std::vector<std::string>{"client", "client", "other-client",
                                                  "other-client", "client", "client", "client",
                                                  "client"});
        }
}

} // namespace handshake_test
