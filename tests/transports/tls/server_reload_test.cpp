// The server's files change while it runs.
#include "pair.hpp"
#include "tls/tls.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace server_reload_test {

using namespace tls_pair;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// A certificate, its key and an authority, which the test replaces.
struct Files {
    explicit Files(const std::string& directory) : at{certificate(directory)}
    {
        fs::create_directory(at);
        put("valid");
        put_one("ca.pem", "ca.pem");
    }
    void put(const std::string& name) const
    {
        put_one(name + ".pem", "cert.pem");
        put_one(name + ".key", "key.pem");
    }
    /// As tools that renew certificates do: a new file under the old name.
    void put_one(const std::string& from, const std::string& to) const
    {
        fs::copy_file(certificate(from), at / "new");
        fs::rename(at / "new", at / to);
    }
    [[nodiscard]] TlsServerOptions options() const
    {
        return {.certificates = {{.certificate_file = at / "cert.pem", .key_file = at / "key.pem"}},
                .client_certificates = ClientCertificates::optional,
                .ca_file = at / "ca.pem"};
    }
    fs::path at;
};

constexpr auto info = LogLevel::info, warning = LogLevel::warning;
using Logs = std::vector<std::pair<LogLevel, std::string>>;

/// Does a handshake at this time of the server's clock; returns the certificate's subject.
std::string subject_at(const stream::TlsServerContextPtr& shared, Duration time, Logs* logs,
                       bool* is_resumed = nullptr)
{
    Pair pair{shared};
    pair.peer = "a server that reloads";
    pair.context.ahead = time;
    pair.shake_hands({.insecure_skip_verification = true});
    if (logs)
        *logs = pair.context.logs;
    REQUIRE(pair.is_secure());
    if (is_resumed)
        *is_resumed = pair.server->tls_info()->is_resumed;
    return pair.client->tls_info()->certificate.subject;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TEST_CASE("tls reload: the next handshake has the new certificate, a live connection goes on")
{
    const Files files{"renewed"};
    const auto shared = prepare(files.options());
    Pair live{shared};
    live.shake_hands();
    REQUIRE(live.is_secure());

    files.put("chained");
    Logs logs;
    bool is_resumed = true;
    CHECK(subject_at(shared, 2s, &logs, &is_resumed) == "chained");
    CHECK_FALSE(is_resumed);
    REQUIRE(logs.size() == 2);
    CHECK(logs[0]
          == std::pair{info, std::string{"tls://localhost:1: new files of TLS are in use "
                                         "from now on"}});
    CHECK(has(logs[1].second, "insecure_skip_verification")); // the client's
    CHECK(live.pass(*live.client, *live.server, "still here") == "still here");
    CHECK(live.pass(*live.server, *live.client, "and here") == "and here");
    CHECK(subject_at(shared, 4s, &logs, &is_resumed) == "chained");
    CHECK(is_resumed);
    CHECK(logs.size() == 1);
}

TEST_CASE("tls reload: the files are looked at once a second at most")
{
    const Files files{"seldom"};
    const auto shared = prepare(files.options());
    CHECK(subject_at(shared, 0s, nullptr) == "valid");
    files.put("chained");
    CHECK(subject_at(shared, 500ms, nullptr) == "valid");
    CHECK(subject_at(shared, 1500ms, nullptr) == "chained");
}

TEST_CASE("tls reload: files that cannot be used leave the old ones, which is logged once")
{
    struct Row {
        const char* name;
        void (*break_files)(const Files&);
        std::string reason;
    };
    const Row rows[] = {
        {"gone", [](const Files& f) { fs::remove(f.at / "cert.pem"); },
         "cert.pem\" cannot be read: No such file or directory"},
        {"key-gone", [](const Files& f) { fs::remove(f.at / "key.pem"); },
         "key.pem\" cannot be read: No such file or directory"},
        {"ca-gone", [](const Files& f) { fs::remove(f.at / "ca.pem"); },
         "ca.pem\" cannot be read: No such file or directory"},
        {"half", [](const Files& f) { fs::resize_file(f.at / "cert.pem", 100); },
         "certificate number 1 cannot be read"},
        {"empty", [](const Files& f) { fs::resize_file(f.at / "cert.pem", 0); },
         "holds no certificate in PEM form"},
        {"first", [](const Files& f) { f.put_one("chained.pem", "cert.pem"); },
         "key.pem\" is not the key of certificates[0].certificate_file"},
        {"late", [](const Files& f) { f.put("expired"); }, "\"expired\" expired on"},
        {"early", [](const Files& f) { f.put("future"); }, "\"future\" is not valid before"},
        {"weak", [](const Files& f) { f.put("weak"); }, "cannot be used: ee key too small"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.name);
        const Files files{std::string{"broken-"} + row.name};
        const auto shared = prepare(files.options());
        row.break_files(files);
        Logs logs;
        CHECK(subject_at(shared, 2s, &logs) == "valid");
        REQUIRE(logs.size() == 2);
        CHECK(logs[0].first == warning);
        CHECK(has(logs[0].second, "tls://localhost:1: the files of TLS cannot be used, so the "
                                  "earlier certificates stay: "));
        CAPTURE(logs[0].second);
        CHECK(has(logs[0].second, row.reason));
        CHECK(subject_at(shared, 4s, &logs) == "valid");
        CHECK(logs.size() == 1); // once

        files.put("chained");
        files.put_one("ca.pem", "ca.pem");
        CHECK(subject_at(shared, 6s, &logs) == "chained");
        CHECK(logs.size() == 2);
    }
}

TEST_CASE("tls reload: a file that is mended without a trace of it is used too")
{
    const Files files{"permission"};
    const auto shared = prepare(files.options());
    files.put("chained");
    const auto key = files.at / "key.pem", aside = files.at / "aside";
    fs::rename(key, aside);
    CHECK(subject_at(shared, 2s, nullptr) == "valid");
    fs::rename(aside, key); // the same file with the same date
    CHECK(subject_at(shared, 4s, nullptr) == "chained");
}

TEST_CASE("tls reload: other authorities hold for a client that has a ticket of the old ones")
{
    const Files files{"authorities"};
    const auto shared = prepare(files.options());
    const TlsOptions client{.ca_file = certificate("ca.pem"),
                            .certificate_file = certificate("client.pem"),
                            .key_file = certificate("client.key")};
    for (const bool is_trusted : {true, true, false}) {
        if (!is_trusted)
            files.put_one("other-ca.pem", "ca.pem");
        Pair pair{shared};
        pair.peer = "other authorities";
        pair.context.ahead = is_trusted ? 0s : 2s;
        pair.shake_hands(client);
        CHECK(static_cast<bool>(pair.server) == is_trusted);
        CHECK(has(pair.server_failure.explanation(), "unknown issuer") != is_trusted);
    }
}

TEST_CASE("tls reload: the keys of tickets change after a day, silently")
{
    const Files files{"a-day"};
    const auto shared = prepare(files.options());
    bool is_resumed = false;
    Logs logs;
    (void)subject_at(shared, 0s, nullptr);
    (void)subject_at(shared, 23h, nullptr, &is_resumed);
    CHECK(is_resumed);
    (void)subject_at(shared, 25h, &logs, &is_resumed);
    CHECK_FALSE(is_resumed);
    CHECK(logs.size() == 1); // the client's
    (void)subject_at(shared, 26h, nullptr, &is_resumed);
    CHECK(is_resumed);
}

TEST_CASE("tls reload: two loops share a context while its files change")
{
    const Files files{"threads"};
    const auto shared = prepare(files.options());
    std::atomic<int> done = 0, bad = 0;
    const auto serve = [&](int seed) {
        for (int i = 0; i < 25; ++i) {
            Pair pair{shared};
            pair.peer = "a thread's " + std::to_string(seed);
            pair.context.ahead = 2s * i;
            pair.shake_hands({.insecure_skip_verification = true});
            bad += pair.is_secure() ? 0 : 1;
            ++done;
        }
    };
    std::thread first{serve, 1}, second{serve, 2};
    for (int i = 0; done < 50; ++i)
        files.put(i % 2 == 0 ? "chained" : "valid");
    first.join();
    second.join();
    CHECK(bad == 0);
}

} // namespace server_reload_test
