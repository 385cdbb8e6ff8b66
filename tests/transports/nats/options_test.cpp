// The options of Nats: URLs, subjects, ways to log in; and what send() refuses.
#include "nats/options.hpp"

#include <sidecar/format.hpp>
#include <sidecar/transports/nats.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sidecar;
using sidecar::nats::parse_urls;

namespace {

Failure refusal(const Nats::Options& options)
{
    const auto checked = Nats::check(options);
    REQUIRE(!checked);
    CHECK(checked.error().message().find("s3cret") == std::string::npos);
    return checked.error();
}

} // namespace

TEST_CASE("nats options: a URL names servers, a subject and a way to log in")
{
    const auto one = parse_urls("nats://host").value();
    CHECK(one.addresses == std::vector<std::string>{"host:4222"});
    CHECK(one.host == "host");
    CHECK(!one.is_secure);
    CHECK(one.subject.empty());
    const auto many =
        parse_urls("nats://ann:p%40ss@a:1/prices.ACME,tls://[::1],nats://10.0.0.1:3/").value();
    CHECK(many.addresses == std::vector<std::string>{"a:1", "[::1]:4222", "10.0.0.1:3"});
    CHECK(many.is_secure);
    CHECK(many.subject == "prices.ACME");
    CHECK(many.credentials.user == "ann");
    CHECK(many.credentials.password == "p@ss");
    CHECK(parse_urls("nats://tok%2Fen@a").value().credentials.token == "tok/en");
    CHECK(parse_urls("NATS://a/b%3E").value().subject == "b>");
}

TEST_CASE("nats options: a wrong URL is bad_address, and shows no secret")
{
    for (const auto* url :
         {"", "host", "http://host", "nats://", "nats://a:0", "nats://a:70000", "nats://a,",
          "nats://a?x=1", "nats://a#x", "nats://a b", "nats://u:s3cret@a,nats://v:s3cret2@b",
          "nats://a/x,nats://b/y", "nats://u:s3cret,nats://b@a"}) {
        CAPTURE(std::string{url});
        CHECK(refusal({.url = url}) == Error::bad_address);
    }
}

TEST_CASE("nats options: the endpoint shows no secret")
{
    CHECK(Nats::endpoint({.url = "nats://u:s3cret@a:1/x,tls://b"}) == "nats://***@a:1/x,tls://b");
    CHECK(Nats::endpoint({.url = "nats://u:12,s3cret@a"}).find("s3cret") == std::string::npos);
}

TEST_CASE("nats options: what cannot be is bad_options")
{
    const std::string url = "nats://a";
    for (const Nats::Options& options : std::initializer_list<Nats::Options>{
             {.url = url, .subject = "a.*"},
             {.url = url + "/>"},
             {.url = url + "/a", .subject = "b"},
             {.url = url, .subscriptions = {{"a..b"}}},
             {.url = url, .subscriptions = {{"a", "two words"}}},
             {.url = url, .inbox_prefix = "*"},
             {.url = url, .max_message_bytes = 0},
             {.url = url, .user = "u", .password = "s3cret", .token = "s3cret"},
             {.url = "nats://u:s3cret@a", .token = "s3cret"},
             {.url = url, .nkey_seed = "s3cret"}}) {
        CAPTURE(options.url);
        CHECK(refusal(options) == Error::bad_options);
    }
    CHECK(Nats::check({.url = url, .subject = "a.b", .subscriptions = {{"a.*", "q"}, {">"}}}));
}

TEST_CASE("nats options: send() refuses what the protocol cannot carry")
{
    const auto check = [](const Nats::Options& options, std::string_view payload) {
        return Nats::check_send(options,
                                {LinkId{}, MessageKind::text, std::as_bytes(std::span{payload})});
    };
    CHECK(check({.url = "nats://a", .subject = "x"}, "hi"));
    CHECK(check({.url = "nats://a/x"}, "hi"));
    CHECK(check({.url = "nats://a,nats://b/x"}, "hi"));
    CHECK(check({.url = "nats://a"}, "hi") == Error::bad_message);
    CHECK(check({.url = "nats://a/"}, "hi") == Error::bad_message);
    CHECK(check({.url = "nats://a/,nats://b"}, "hi") == Error::bad_message);
    CHECK(check({.url = "nats://a"}, nats::subscription("a.>").message));
    CHECK(check({.url = "nats://a"}, nats::unsubscription("a.>")));
    CHECK(check({.url = "nats://a"}, nats::subscription("a b").message) == Error::bad_message);
    CHECK(check({.url = "nats://a"}, nats::subscription("a", {.queue = "b c"}).message)
          == Error::bad_message);
}
