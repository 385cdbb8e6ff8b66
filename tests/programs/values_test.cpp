#include "target.hpp"
#include "values.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace sidecar_cat;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

SecretSources sources_of(std::map<std::string, std::string> files,
                         std::map<std::string, std::string> variables = {})
{
    const auto find = [](std::map<std::string, std::string> in) {
        return [in = std::move(in)](const std::string& name) -> std::optional<std::string> {
            const auto found = in.find(name);
            return found == in.end() ? std::nullopt : std::optional{found->second};
        };
    };
    return {.file = find(std::move(files)), .environment = find(std::move(variables))};
}

} // namespace

TEST_CASE("count: whole numbers from 1 on")
{
    CHECK(*parse_count("1") == 1);
    CHECK(*parse_count("18446744073709551615") == 18446744073709551615u);
    for (const auto* wrong : {"", "0", "-1", "+1", "1.5", "x", "1x", " 1", "18446744073709551616"})
        CHECK_MESSAGE(!parse_count(wrong), wrong);
}

TEST_CASE("size: bytes, with k, M and G in steps of 1024, to 1 GiB")
{
    CHECK(*parse_size("1") == 1);
    CHECK(*parse_size("4k") == 4096);
    CHECK(*parse_size("2M") == 2u << 20);
    CHECK(*parse_size("1g") == 1u << 30);
    CHECK(*parse_size("1048576k") == 1u << 30);
    for (const auto* wrong :
         {"", "k", "0", "0k", "-1", "1.5k", "1kb", "2G", "1048577k", "1 k", "99999999999999999999"})
        CHECK_MESSAGE(!parse_size(wrong), wrong);
}

TEST_CASE("seconds: with a fraction if need be")
{
    CHECK(*parse_seconds("0") == 0s);
    CHECK(*parse_seconds("10") == 10s);
    CHECK(*parse_seconds("0.25") == 250ms);
    CHECK(*parse_seconds("100000000") == 100000000s);
    for (const auto* wrong :
         {"", ".", "-1", "1s", "inf", "nan", "1e3", "0x10", "1.2.3", "100000001", " 1"})
        CHECK_MESSAGE(!parse_seconds(wrong), wrong);
}

TEST_CASE("framing: the four kinds and their sizes")
{
    using Kind = FramingChoice::Kind;
    const auto is = [](const char* text, Kind kind, std::size_t size) {
        const auto framing = parse_framing(text);
        return framing && framing->kind == kind && framing->size == size;
    };
    CHECK(is("lines", Kind::lines, 0));
    CHECK(is("raw", Kind::raw, 0));
    CHECK(is("length1", Kind::length_prefix, 1));
    CHECK(is("length8", Kind::length_prefix, 8));
    CHECK(is("fixed:16", Kind::fixed_size, 16));
    CHECK(is("fixed:4k", Kind::fixed_size, 4096));
    for (const auto* wrong : {"", "line", "length", "length3", "length16", "fixed",
                              "fixed:", "fixed:0", "fixed:x", "Lines"})
        CHECK_MESSAGE(!parse_framing(wrong), wrong);
}

TEST_CASE("header: name and value, or lines of them from a file")
{
    const auto sources = sources_of({{"f", "A: 1\r\n\nB:\t2 3 \n"}, {"bad", "A: 1\nnonsense\n"}});
    CHECK(parse_header("X-A: b: c ", sources)->front() == HeaderField{"X-A", "b: c"});
    CHECK(parse_header("X-Empty:", sources)->front() == HeaderField{"X-Empty", ""});
    CHECK(*parse_header("@f", sources) == std::vector<HeaderField>{{"A", "1"}, {"B", "2 3"}});
    for (const auto& wrong : {""s, ":"s, ": v"s, "no colon"s, "a b: c"s, "a : c"s, "ü: c"s,
                              "a: b\nc: d"s, "a: \0"s, "@bad"s, "@none"s})
        CHECK_MESSAGE(!parse_header(wrong, sources), wrong);
}

TEST_CASE("auth: basic and bearer, from the command line, a file or the environment")
{
    const auto sources = sources_of({{"f", "bearer:t\n"}, {"empty", "\n"}}, {{"V", "a:b:c"}});
    const auto is_basic = [&](const char* text, const char* user, const char* password) {
        const auto parsed = parse_credentials(text, sources);
        return parsed && parsed->user == user && parsed->password == password
               && parsed->bearer.empty();
    };
    CHECK(is_basic("Aladdin:open sesame", "Aladdin", "open sesame"));
    CHECK(is_basic(":", "", ""));
    CHECK(is_basic("env:V", "a", "b:c"));
    CHECK(parse_credentials("bearer:abc", sources)->bearer == "abc");
    CHECK(parse_credentials("@f", sources)->bearer == "t");
    for (const auto& wrong :
         {""s, "secret"s, "@none"s, "@empty"s, "env:NONE"s, "a:\nb"s, "bearer:"s}) {
        const auto parsed = parse_credentials(wrong, sources);
        REQUIRE_MESSAGE(!parsed, wrong);
        CHECK(parsed.error().why().find("secret") == std::string::npos);
    }
}

TEST_CASE("proxy: a URL, env, or a file with a URL")
{
    const auto sources = sources_of({{"f", "http://u:p@h:1\n"}, {"empty", "\n"}});
    CHECK(*parse_proxy("http://h:3128", sources) == "http://h:3128");
    CHECK(*parse_proxy("env", sources) == "env");
    CHECK(*parse_proxy("@f", sources) == "http://u:p@h:1");
    for (const auto* wrong : {"", "@empty", "@none"})
        CHECK_MESSAGE(!parse_proxy(wrong, sources), wrong);
}

TEST_CASE("names: by commas, behind those that were there")
{
    CHECK(*append_names({"a"}, "b, c") == std::vector<std::string>{"a", "b", "c"});
    for (const auto* wrong : {"", ",", "a,", "a b", "a,,b", "a;b"})
        CHECK_MESSAGE(!append_names({}, wrong), wrong);
}

TEST_CASE("target: the scheme decides the transport, in either case of letters")
{
    using Kind = Target::Kind;
    for (const auto* url : {"ws://h/p?q", "WS://h", "ws+unix:/s:/r"}) {
        const auto target = parse_target(url);
        REQUIRE(target.has_value());
        CHECK(target->kind == Kind::websocket);
        CHECK_FALSE(target->is_secure);
        CHECK(target->url == url);
    }
    CHECK(parse_target("wss://h")->is_secure);
    CHECK(parse_target("wss+unix:/s:/r")->is_secure);
    CHECK(parse_target("unix:/a/b c")->path == "/a/b c");
    CHECK(parse_target("unix:///a")->path == "/a");
    CHECK(parse_target("unix:@name")->path == "@name");
    CHECK(parse_target("unix:/a")->kind == Kind::unix_socket);
}

TEST_CASE("target: host and port of tcp and tls; IPv6 addresses in brackets")
{
    const auto is = [](const char* url, bool is_secure, const char* host, int port) {
        const auto target = parse_target(url);
        return target && target->kind == Target::Kind::tcp && target->is_secure == is_secure
               && target->host == host && target->port == port;
    };
    CHECK(is("tcp://localhost:80", false, "localhost", 80));
    CHECK(is("tls://1.2.3.4:65535/", true, "1.2.3.4", 65535));
    CHECK(is("tcp://[::1]:1", false, "::1", 1));
    CHECK(is("TCP://[fe80::1%eth0]:1", false, "fe80::1%eth0", 1));
}

TEST_CASE("target: what is no URL of ours is refused without repeating it")
{
    for (const auto* wrong : {"",
                              "h",
                              "h:80",
                              "http://secret",
                              "ws:secret",
                              "ws:/secret",
                              "tcp:secret:1",
                              "tcp://",
                              "tcp://h",
                              "tcp://:1",
                              "tcp://h:",
                              "tcp://h:0",
                              "tcp://h:65536",
                              "tcp://h:-1",
                              "tcp://h:1x",
                              "tcp://::1:1",
                              "tcp://[::1]",
                              "tcp://[]:1",
                              "tcp://[::1:1",
                              "tcp://user:secret@h:1",
                              "tcp://h:1/secret",
                              "tcp://h:1?secret",
                              "unix:",
                              "unix:secret",
                              "unix:/",
                              "unix:@",
                              "unix://host"}) {
        const auto target = parse_target(wrong);
        REQUIRE_MESSAGE(!target, wrong);
        CHECK(target.error().why().find("secret") == std::string::npos);
    }
}
