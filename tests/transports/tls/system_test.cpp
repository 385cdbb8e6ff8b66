// TLS in its surroundings: OpenSSL that cannot start, small stacks, the environment, hosts.
#include "trial.hpp"

#include "support/sanitized.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <openssl/provider.h>

#include <pthread.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace system_test {

using namespace sidecar;
using namespace std::chrono_literals;

/// Run by the next one in a process of its own.
TEST_CASE("tls system: a child whose OpenSSL cannot start" * doctest::skip())
{
    if (std::getenv("SIDECAR_TEST_PROVIDER"))
        REQUIRE(::OSSL_PROVIDER_load(nullptr, std::getenv("SIDECAR_TEST_PROVIDER")));
    LinesFeed feed{{.host = "127.0.0.1", .port = 1, .tls = TlsOptions{}}, at_home()};
    for (int i = 0; i < 2; ++i) {
        const auto failure = feed.start(20s).error();
        CHECK(failure == Error::tls_failed);
        CHECK(failure.message()
              == "cannot prepare TLS (127.0.0.1:1): the connection could not be secured: OpenSSL "
                 "cannot be used: library has no ciphers");
    }
}

TEST_CASE("tls system: OpenSSL that cannot start is a failure with its own reason")
{
    const auto provider = [](const std::string& name, const std::string& more = {}) {
        return "openssl_conf = init\n[init]\nproviders = all\n" + more + "[all]\n" + name
               + " = one\n" + "[one]\nactivate = 1\n";
    };
    const std::pair<std::string, const char*> rows[] = {
        {provider("legacy"), ""},
        {provider("base"), ""},
        {provider("default", "alg_section = fips\n[fips]\ndefault_properties = fips=yes\n"), ""},
        {"", "SIDECAR_TEST_PROVIDER=legacy "},
    };
    const auto file = certificate("openssl.cnf");
    for (const auto& row : rows) { // not by names of its parts: clang 14 cannot capture them
        CAPTURE(row.first);
        std::ofstream{file} << row.first;
        const auto command = fmt::format(
            // OpenSSL does not release a provider that the program has loaded
            "ASAN_OPTIONS=detect_leaks=0 OPENSSL_CONF={} {}/proc/{}/exe --no-skip "
            "'--test-case=tls system: a child*' >&2",
            file, row.second, ::getpid());
        CHECK(std::system(command.c_str()) == 0);
    }
}

TEST_CASE("tls system: a program that links us can make threads with the smallest stack")
{
    if (is_sanitized)
        return; // a sanitizer needs more
    pthread_attr_t attributes;
    REQUIRE(::pthread_attr_init(&attributes) == 0);
    REQUIRE(::pthread_attr_setstacksize(&attributes, 16u << 10) == 0);
    pthread_t thread;
    int ran = 0;
    const auto run = [](void* argument) -> void* {
        *static_cast<int*>(argument) = 1;
        return nullptr;
    };
    REQUIRE(::pthread_create(&thread, &attributes, run, &ran) == 0);
    CHECK(::pthread_join(thread, nullptr) == 0);
    CHECK(ran == 1);
}

TEST_CASE("tls system: a host that is no name is refused, also where a proxy would resolve it")
{
    for (const std::string& host : {std::string{".example.com"}, std::string{"a..b"},
                                    std::string(64, 'a') + ".example", std::string(300, 'a')})
        for (const std::string proxy : {"", "http://127.0.0.1:1"}) {
            auto target = lines_to(1, trusting(), host);
            target.proxy.url = proxy;
            LinesFeed feed{target, at_home()};
            CHECK(feed.start(20s).error() == Error::bad_address);
        }
}

} // namespace system_test
