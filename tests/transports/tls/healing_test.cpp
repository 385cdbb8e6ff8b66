// Links that come back, and those that must not: what a failure in TLS says of the next attempt.
#include "trial.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <sys/resource.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>

namespace healing_test {

using namespace sidecar;
using namespace std::chrono_literals;
using namespace std::string_literals;

using Script = RawPeer::Script;

Options coming_back()
{
    auto options = at_home();
    options.reconnect = Reconnect{.window = 1ms, .max_window = 4ms};
    return options;
}

/// What becomes of a link whose second connection meets this in the TLS handshake: empty if it is up
/// again, else the failure that ended it.
Failure after(const Script& second, TlsOptions tls = trusting())
{
    const TlsServer server;
    std::atomic<int> connections = 0;
    RawPeer peer{[&](RawConnection& raw) {
        const int number = ++connections;
        if (number == 2)
            return second(raw);
        TlsConnection c{raw, server};
        c.accept();
        c.send("hello\n");
        number == 1 ? c.say_goodbye() : (void)c.wait_for_goodbye();
        raw.half_close();
        raw.wait_for_end();
    }};
    LinesFeed feed{lines_to(peer.port(), std::move(tls)), coming_back()};
    REQUIRE(feed.start(20s));
    Failure last;
    for (;;) {
        const auto event = feed.next_event(20s);
        REQUIRE(event);
        if (event->failure)
            last = *event->failure;
        if (event->kind == Event::Kind::up && event->connection == 2)
            return {};
        const bool is_over = event->kind == Event::Kind::down || event->kind == Event::Kind::retry;
        if (is_over && !event->next_attempt)
            return last;
    }
}

Script saying(std::string bytes)
{
    return [=](RawConnection& c) {
        c.read(10);
        c.send(bytes);
        c.half_close();
        c.wait_for_end();
    };
}

std::string alert(int number) { return "\x15\x03\x03\0\x02\x02"s + static_cast<char>(number); }

TEST_CASE("tls healing: a link comes back after what may pass in a handshake")
{
    struct Row {
        const char* what;
        Script script;
    };
    std::vector<Row> rows{
        {"an end after our hello", saying("")},
        {"an end in the answer", saying("\x16\x03\x03")},
        {"a reset", [](RawConnection& c) { c.read(10), c.reset(); }},
        {"close_notify", saying("\x15\x03\x03\0\x02\x01\0"s)},
        {"plain HTTP 503", saying("HTTP/1.0 503 Service Unavailable\r\n\r\n")},
        {"plain HTTP 429", saying("HTTP/1.1 429 Too Many Requests\r\n\r\n")},
        {"another protocol", saying("220 mail.example\r\n")},
        {"a broken record", saying("\x16\x03\x03\0\x05\x02\0\0\x01\0"s)},
    };
    for (const int number : {10, 20, 40, 50, 51, 80, 90, 112, 199})
        rows.push_back({"a fatal alert", saying(alert(number))});
    for (const auto& row : rows) {
        CAPTURE(row.what);
        CHECK(after(row.script).message() == Failure{}.message());
    }
}

TEST_CASE("tls healing: a link ends where our certificate, the protocol or the peer's was refused")
{
    for (const int number : {42, 44, 45, 46, 48, 49, 70, 116, 120}) {
        CAPTURE(number);
        CHECK(after(saying(alert(number))) == Error::tls_failed);
    }
    CHECK(after(saying("HTTP/1.1 400 Bad Request\r\n\r\n")).http_status() == 400);
    const TlsServer expired{{.certificate = "expired"}}, old{{.version = TLS1_1_VERSION}};
    for (const auto* server : {&expired, &old})
        CHECK(after([&](RawConnection& raw) {
                  TlsConnection c{raw, *server};
                  try {
                      c.accept();
                  } catch (const PeerGone&) {
                      raw.send(c.end.take()); // its alert
                      raw.wait_for_end();
                  }
              })
              == Error::tls_failed);
}

TEST_CASE("tls healing: close_notify and an end in the handshake have texts")
{
    const auto start_against_bytes = [](const std::string& bytes) {
        RawPeer peer{saying(bytes)};
        LinesFeed feed{lines_to(peer.port()), at_home()};
        return feed.start(20s).error().explanation();
    };
    CHECK(start_against_bytes("\x15\x03\x03\0\x02\x01\0"s)
          == "the peer ended the connection with close_notify in the middle of the handshake");
}

TEST_CASE(
    "tls healing: a link that only sends comes back after an alert in place of the first byte")
{
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        const TlsServer server{{.version = version}};
        std::atomic<int> connections = 0;
        std::atomic<bool> has_two = false;
        std::string last;
        RawPeer peer{[&](RawConnection& raw) {
            TlsConnection c{raw, server};
            c.accept();
            if (++connections == 2) {
                last = c.read_until("\n");
                c.wait_for_goodbye();
                return;
            }
            c.read_until("two\n");
            has_two = true; // the next record comes alone
            has_two.notify_one();
            char bytes[512];
            const auto size = raw.read_some(bytes, sizeof bytes);
            bytes[size - 1] ^= 1;
            c.end.come({bytes, size});
            CHECK_THROWS_AS((void)c.end.read(), PeerGone);
            raw.send(c.end.take()); // bad_record_mac
            raw.wait_for_end();
        }};
        auto options = coming_back();
        options.reconnect->on_disconnect = OnDisconnect::keep;
        LinesFeed feed{lines_to(peer.port()), options};
        REQUIRE(feed.start(20s));
        for (const auto* line : {"one", "two"})
            REQUIRE(feed.send(line));
        has_two.wait(false);
        REQUIRE(feed.send("flipped"));
        auto event = feed.next_event(20s);
        while (event && event->kind != Event::Kind::down)
            event = feed.next_event(20s);
        REQUIRE(event);
        CHECK(*event->failure == Error::disconnected);
        CHECK(event->failure->cause().message() == "the peer's TLS alert bad_record_mac (20)");
        CHECK(event->next_attempt);
        while (event && event->kind != Event::Kind::up)
            event = feed.next_event(20s);
        REQUIRE(event);
        REQUIRE(feed.send("three", 20s));
        REQUIRE(feed.flush(20s));
        (void)feed.stop();
        REQUIRE(peer.wait_for_ended(2));
        CHECK(last.ends_with("\n"));
    }
}

/// A link to a peer that ends the first connection; `change` happens before, `mend` once an attempt
/// has failed. Returns why that one failed.
Failure after_files_change(const TlsOptions& tls, const std::function<void()>& change,
                           const std::function<void()>& mend, std::string* shown = nullptr)
{
    std::atomic<int> connections = 0;
    std::atomic<bool> is_mended = false;
    Failure why;
    std::string name;
    {
        TlsPeer peer{{.demands_client = shown != nullptr}, [&](TlsConnection& c) {
                         name = c.end.client_name();
                         c.send("hello\n");
                         if (++connections == 1) {
                             c.read_until("\n");
                             c.say_goodbye();
                         }
                         c.wait_for_goodbye();
                         is_mended.wait(false); // accept() needs a descriptor before it waits
                     }};
        LinesFeed feed{lines_to(peer.port(), tls), coming_back()};
        REQUIRE(feed.start(20s));
        REQUIRE(feed.receive(20s));
        change();
        REQUIRE(feed.send("go"));
        for (;;) {
            const auto event = feed.next_event(20s);
            REQUIRE(event);
            if (event->kind == Event::Kind::retry && why.code() == error_code{}) {
                why = *event->failure;
                REQUIRE(event->next_attempt);
                mend();
                is_mended = true;
                is_mended.notify_all();
            }
            if (event->kind == Event::Kind::up && event->connection == 2)
                break;
        }
        REQUIRE(feed.receive(20s));
    }
    if (shown)
        *shown = name;
    return why;
}

void replace(const std::string& file, const std::string& by)
{
    std::filesystem::copy_file(certificate(by), file + ".new");
    std::filesystem::rename(file + ".new", file); // another inode, whatever the clock says
}

TEST_CASE("tls healing: a renewed certificate is taken up once its key has come")
{
    auto tls = trusting();
    tls.certificate_file = certificate("renewed.pem");
    tls.key_file = certificate("renewed.key");
    replace(tls.certificate_file, "client.pem");
    replace(tls.key_file, "client.key");
    std::string shown;
    const auto why = after_files_change(
        tls, [&] { replace(tls.certificate_file, "other-client.pem"); },
        [&] { replace(tls.key_file, "other-client.key"); }, &shown);
    CHECK(why == Error::bad_options);
    CHECK(why.explanation().find("is not the key of") != std::string::npos);
    CHECK(shown == "other-client");
}

TEST_CASE("tls healing: files that were away, and descriptors that were missing, end no link")
{
    TlsOptions tls{.ca_file = certificate("touched.pem")};
    replace(tls.ca_file, "ca.pem");
    const auto gone = after_files_change(
        tls, [&] { std::filesystem::remove(tls.ca_file); },
        [&] { replace(tls.ca_file, "ca.pem"); });
    CHECK(gone == Error::bad_options);
    CHECK(gone.explanation().find("No such file") != std::string::npos);

    ::rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    const auto set_most = [&](::rlim_t most) {
        const ::rlimit changed{.rlim_cur = most, .rlim_max = limit.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &changed) == 0);
    };
    const auto lacking = after_files_change(
        tls,
        [&] {
            replace(tls.ca_file, "ca.pem");
            set_most(3);
        },
        [&] { set_most(limit.rlim_cur); });
    CHECK(lacking == Error::no_resources);
    CHECK(lacking.explanation().find("Too many open files") != std::string::npos);
}

TEST_CASE("tls healing: an https proxy that ends in the handshake is asked again")
{
    std::atomic<int> connections = 0;
    const TlsServer server;
    RawPeer proxy{[&](RawConnection& raw) {
        if (++connections < 3) {
            raw.read(10);
            connections == 2 ? raw.send("\x16\x03\x03") : (void)0;
            raw.half_close();
            return raw.wait_for_end();
        }
        TlsConnection c{raw, server};
        c.accept();
        c.read_until("\r\n\r\n");
        c.send("HTTP/1.1 200 OK\r\n\r\nhello\n");
        c.wait_for_goodbye();
    }};
    auto options = coming_back();
    options.reconnect->at_start = true;
    LinesFeed feed{
        {.host = "feed.example",
         .port = 4711,
         .proxy = {.url = fmt::format("https://localhost:{}", proxy.port()), .tls = trusting()}},
        options};
    REQUIRE(feed.start(20s));
    CHECK(feed.receive(20s).value().text() == "hello");
    CHECK(connections == 3);
}

TEST_CASE("tls healing: the trust store's variables count as the application's thread saw them")
{
    TlsPeer peer{{}, [](TlsConnection& c) {
                     c.send("hello\n");
                     c.wait_for_goodbye();
                 }};
    const auto starts = [&](const std::string& file) {
        ::setenv("SSL_CERT_FILE", file.c_str(), 1);
        LinesFeed feed{lines_to(peer.port(), TlsOptions{}), at_home()};
        return feed.start(20s).has_value();
    };
    CHECK(starts(certificate("ca.pem")));
    CHECK_FALSE(starts(certificate("other-ca.pem")));
    CHECK_FALSE(starts("/nowhere"));
    ::setenv("SSL_CERT_DIR", certificate("hashed").c_str(), 1);
    CHECK(starts("/nowhere"));
    ::unsetenv("SSL_CERT_FILE");
    ::unsetenv("SSL_CERT_DIR");
}

TEST_CASE("tls healing: a link that comes back does not read the variables again")
{
    std::atomic<int> connections = 0;
    TlsPeer peer{{}, [&](TlsConnection& c) {
                     c.send("hello\n");
                     if (++connections == 1) {
                         c.read_until("\n");
                         c.say_goodbye();
                     }
                     c.wait_for_goodbye();
                 }};
    ::setenv("SSL_CERT_FILE", certificate("ca.pem").c_str(), 1);
    LinesFeed feed{lines_to(peer.port(), TlsOptions{}), coming_back()};
    REQUIRE(feed.start(20s));
    REQUIRE(feed.receive(20s));
    ::setenv("SSL_CERT_FILE", certificate("other-ca.pem").c_str(), 1);
    REQUIRE(feed.send("go"));
    auto event = feed.next_event(20s);
    while (event && event->kind != Event::Kind::up && event->next_attempt)
        event = feed.next_event(20s);
    REQUIRE(event);
    CHECK(event->kind == Event::Kind::up);
    ::unsetenv("SSL_CERT_FILE");
}

} // namespace healing_test
