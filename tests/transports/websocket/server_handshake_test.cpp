// What a server makes of each request, without sockets.
#include <server_handshake.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace server_handshake_test {

using namespace sidecar;
using namespace sidecar::websocket;
using http::HeadReader;

constexpr const char* key_field = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

struct Judged {
    Decision decision;
    Request request;
    /// "101", or the status and why; of a page only the status.
    [[nodiscard]] std::string told() const
    {
        if (decision.opening)
            return "101";
        const auto& answer = decision.answer;
        return answer.why.empty() ? std::to_string(answer.status)
                                  : fmt::format("{}: {}", answer.status, answer.why);
    }
    [[nodiscard]] std::string field(std::string_view name) const
    {
        for (const auto& [its_name, value] : decision.answer.fields)
            if (its_name == name)
                return value;
        return {};
    }
};

Judged judge(std::string_view bytes, const ServerOptions& options = {}, bool is_secure = false,
             std::size_t segment_bytes = static_cast<std::size_t>(-1))
{
    HeadReader reader{options.max_head_bytes, HeadReader::Kind::request};
    for (std::size_t at = 0; at < bytes.size() && reader.state() == HeadReader::State::incomplete;)
        at += std::max<std::size_t>(reader.take(bytes.substr(at, segment_bytes)), 1);
    Judged judged;
    if (reader.state() == HeadReader::State::incomplete)
        judged.decision.answer.why = "incomplete";
    else if (reader.state() != HeadReader::State::complete)
        judged.decision.answer = refuse_head(reader, options);
    else
        judged.decision = decide(reader.parse(), judged.request, options, is_secure);
    return judged;
}

/// A handshake with these lines more, and without the fields of these names.
std::string handshake(std::string_view more = {}, const std::vector<std::string>& without = {},
                      std::string_view line = "GET /feed?a=b HTTP/1.1")
{
    std::string text{line};
    text += "\r\n";
    for (const std::string field :
         {"Host: example.com:8080\r\n", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n",
          key_field, "Sec-WebSocket-Version: 13\r\n"})
        if (std::none_of(without.begin(), without.end(),
                         [&](const auto& name) { return field.starts_with(name + ":"); }))
            text += field;
    return text.append(more) + "\r\n";
}

TEST_CASE("server handshake: a valid one is described and opened")
{
    const auto judged = judge(handshake("Sec-WebSocket-Protocol: v1, v2\r\nX-Token: t\r\n"));
    REQUIRE(judged.decision.opening);
    CHECK(judged.decision.opening->accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455 section 1.3
    CHECK(judged.decision.opening->subprotocol.empty());
    CHECK(judged.request.method == "GET");
    CHECK(judged.request.path == "/feed");
    CHECK(judged.request.query == "a=b");
    CHECK(judged.request.header("x-token") == "t");
    CHECK(judged.request.subprotocols == std::vector<std::string>{"v1", "v2"});
    CHECK(bytes_of(*judged.decision.opening)
          == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    // in any pieces, with what the RFC lets vary
    for (const auto& request :
         {handshake(), "\r\n" + handshake(), handshake("Content-Length: 0\r\n"),
          handshake("Upgrade: h2c, WebSocket\r\nConnection: keep-alive, UPGRADE\r\n",
                    {"Upgrade", "Connection"}),
          handshake("", {}, "GET http://other/feed?a=b HTTP/1.1"),
          handshake("", {}, "GET / HTTP/1.9"), handshake("Host: [::1]:80\r\n", {"Host"}),
          handshake("Host:\r\n", {"Host"})}) {
        CAPTURE(request);
        for (const std::size_t segment_bytes : {std::size_t{1}, std::size_t{7}, request.size()})
            CHECK(judge(request, {}, false, segment_bytes).told() == "101");
    }
    const auto absolute = judge(handshake("", {}, "GET http://other?x HTTP/1.1"));
    CHECK(absolute.request.path == "/");
    CHECK(absolute.request.query == "x");
}

TEST_CASE("server handshake: each refusal has its status")
{
    struct Case {
        std::string request;
        const char* told;
    };
    const std::string tail = "\r\nHost: h\r\n\r\n";
    const Case cases[] = {
        {"\x16\x03\x01", "400: it is not HTTP"},
        {"GE\tT /", "400: it is not HTTP"},
        {std::string(40, 'G'), "400: it is not HTTP"},
        {"GET\r\n\r\n", "400: it is not HTTP"},
        {"GET /" + tail, "400: its first line cannot be read"},
        {"GET  / HTTP/1.1" + tail, "400: its first line cannot be read"},
        {"GET / HTTP/1.1 " + tail, "400: its first line cannot be read"},
        {"GET / http/1.1" + tail, "400: its first line cannot be read"},
        {"GET / HTTP/11.1" + tail, "400: its first line cannot be read"},
        {"GET /\xc3\xa9 HTTP/1.1" + tail, "400: its first line cannot be read"},
        {"GET / HTTP/2.0" + tail, "505: HTTP/2.0 is not HTTP/1.1"},
        {"PRI * HTTP/2.0\r\n\r\n", "505: HTTP/2.0 is not HTTP/1.1"},
        {"GET / HTTP/0.9" + tail, "505: HTTP/0.9 is not HTTP/1.1"},
        {handshake("", {}, "POST /feed HTTP/1.1"), "405: the method \"POST\" is not allowed here"},
        {handshake("", {}, "HEAD /feed HTTP/1.1"), "405: the method \"HEAD\" is not allowed here"},
        {handshake("", {}, "CONNECT h:80 HTTP/1.1"),
         "405: the method \"CONNECT\" is not allowed here"},
        {handshake("", {}, "OPTIONS * HTTP/1.1"), "405: the method \"OPTIONS\" is not allowed here"},
        {handshake("", {}, "BREW / HTTP/1.1"), "501: the method \"BREW\" is not known"},
        {handshake("", {}, "get / HTTP/1.1"), "501: the method \"get\" is not known"},
        {handshake("No colon\r\n"), "400: its fields cannot be read"},
        {handshake("Space : before\r\n"), "400: its fields cannot be read"},
        {handshake(std::string{"Nul: a\0b\r\n", 10}), "400: its fields cannot be read"},
        {handshake("", {"Host"}), "400: it has no Host"},
        {handshake("Host: other\r\n"), "400: it has several Host"},
        {handshake("Host: user@h\r\n", {"Host"}), "400: its Host is none: \"user@h\""},
        {handshake("Host: h/path\r\n", {"Host"}), "400: its Host is none: \"h/path\""},
        {handshake("Host: h:99999\r\n", {"Host"}), "400: its Host is none: \"h:99999\""},
        {handshake("Host: a b\r\n", {"Host"}), "400: its Host is none: \"a b\""},
        {handshake("", {}, "GET feed HTTP/1.1"), "400: the target is no path: \"feed\""},
        {handshake("", {}, "GET * HTTP/1.1"), "400: the target is no path: \"*\""},
        {handshake("", {}, "GET /a#b HTTP/1.1"), "400: the target is no path: \"/a#b\""},
        {handshake("", {}, "GET ftp://h/ HTTP/1.1"), "400: the target is no path: \"ftp://h/\""},
        {handshake("", {}, "GET http:///x HTTP/1.1"), "400: the target is no path: \"/x\""},
        {handshake("Content-Length: 3\r\n"), "400: it has a body"},
        {handshake("Content-Length: 0\r\nContent-Length: 1\r\n"), "400: it has a body"},
        {handshake("Content-Length: +0\r\n"), "400: it has a body"},
        {handshake("Transfer-Encoding: chunked\r\n"), "400: it has a body"},
        {handshake("", {"Connection"}), "400: its Connection field does not say Upgrade"},
        {handshake("Connection: close\r\n", {"Connection"}),
         "400: its Connection field does not say Upgrade"},
        {handshake("", {"Upgrade"}), "426: it asks for no WebSocket"},
        {handshake("Upgrade: h2c\r\n", {"Upgrade"}), "426: it asks for no WebSocket"},
        {handshake("", {}, "GET /feed HTTP/1.0"), "426: it asks for no WebSocket"},
        {handshake("", {"Sec-WebSocket-Version"}), "400: it has no Sec-WebSocket-Version"},
        {handshake("Sec-WebSocket-Version: 13\r\n"), "400: it has several Sec-WebSocket-Version"},
        {handshake("Sec-WebSocket-Version: 8\r\n", {"Sec-WebSocket-Version"}),
         "426: its Sec-WebSocket-Version is \"8\", and must be 13"},
        {handshake("Sec-WebSocket-Version: 13, 8\r\n", {"Sec-WebSocket-Version"}),
         "426: its Sec-WebSocket-Version is \"13, 8\", and must be 13"},
        {handshake("", {"Sec-WebSocket-Key"}), "400: it has no Sec-WebSocket-Key"},
        {handshake(key_field), "400: it has several Sec-WebSocket-Key"},
        {handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n", {"Sec-WebSocket-Key"}),
         "400: its Sec-WebSocket-Key is not 16 bytes in base64"},
        {handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n", {"Sec-WebSocket-Key"}),
         "400: its Sec-WebSocket-Key is not 16 bytes in base64"},
        {handshake("Sec-WebSocket-Key: dGhlIHNhbXBs_SBub25jZQ==\r\n", {"Sec-WebSocket-Key"}),
         "400: its Sec-WebSocket-Key is not 16 bytes in base64"},
        {handshake("Sec-WebSocket-Protocol: a b\r\n"),
         "400: its Sec-WebSocket-Protocol is no list of names"},
        {handshake("Sec-WebSocket-Extensions: a; ;\r\n"),
         "400: its Sec-WebSocket-Extensions cannot be read: \"a; ;\""},
        {"GET /" + std::string(16u << 10, 'x'),
         "414: its head is longer than max_head_bytes (16384)"},
        {handshake("X: " + std::string(16u << 10, 'x') + "\r\n"),
         "431: its head is longer than max_head_bytes (16384)"},
        {std::string(20'000, '\n'), "414: its head is longer than max_head_bytes (16384)"},
        {"GET / HTTP/1.1\r\nHost: h\r\n", "0: incomplete"},
    };
    for (const auto& one : cases) {
        CAPTURE(one.request);
        const auto judged = judge(one.request);
        CHECK(judged.told() == one.told);
        CHECK(judge(one.request, {}, false, 1).told() == one.told);
        CHECK(judge(one.request, {}, false, 5).told() == one.told);
        const auto status = judged.decision.answer.status;
        if (status == 405)
            CHECK(judged.field("Allow") == (one.request.starts_with("HEAD") ? "GET" : "GET, HEAD"));
        if (status == 426) {
            CHECK(judged.field("Upgrade") == "websocket");
            CHECK(judged.field("Sec-WebSocket-Version") == "13");
        }
    }
    // whatever comes, the text is fit for a line
    const auto evil = judge(handshake("Host: \x1b[31m\xff\r\n", {"Host"})).told();
    CHECK(std::all_of(evil.begin(), evil.end(), [](char c) { return c >= 0x20 && c < 0x7f; }));
}

TEST_CASE("server handshake: an answer over HTTP is whole, and ends the connection")
{
    const std::chrono::sys_seconds now{std::chrono::seconds{1'700'000'000}};
    CHECK(bytes_of(unavailable(std::chrono::seconds{5}, "there are too many clients"), now)
          == "HTTP/1.1 503 Service Unavailable\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
             "Connection: close\r\nX-Content-Type-Options: nosniff\r\nRetry-After: 5\r\n"
             "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 52\r\n\r\n"
             "503 Service Unavailable: there are too many clients\n");
    const auto upgrade = bytes_of(judge(handshake("", {"Upgrade"})).decision.answer, now);
    CHECK(upgrade.find("Connection: close, Upgrade\r\n") != upgrade.npos);
}

TEST_CASE("server handshake: pages of the own host may connect, or of the listed origins")
{
    struct Case {
        std::vector<std::string> listed;
        const char* host;
        const char* origin;
        bool is_secure;
        bool is_allowed;
    };
    const Case cases[] = {
        {{}, "example.com:8080", "http://example.com:8080", false, true},
        {{}, "example.com:8080", "https://example.com:8080", false, true},
        {{}, "Example.com", "http://example.COM", false, true},
        {{}, "example.com", "http://example.com:80", false, true},
        {{}, "example.com:80", "http://example.com", false, true},
        {{}, "example.com", "https://example.com", false, true}, // behind a proxy that ends TLS
        {{}, "example.com:443", "https://example.com", true, true},
        {{}, "[::1]:8080", "http://[::1]:8080", false, true},
        {{}, "example.com:8080", "http://example.com", false, false},
        {{}, "example.com:8080", "http://example.com:8081", false, false},
        {{}, "example.com", "http://evil.com", false, false},
        {{}, "example.com", "http://example.com.evil.com", false, false},
        {{}, "example.com", "http://evil.com/example.com", false, false},
        {{}, "example.com", "http://evil@example.com", false, false},
        {{}, "example.com", "null", false, false},
        {{}, "example.com", "", false, false},
        {{}, "example.com", "file://example.com", false, false},
        {{}, "", "http://", false, true}, // a Unix-domain socket's client without any host
        {{"https://a.example", "http://b.example:1"}, "h", "https://A.example", false, true},
        {{"https://a.example", "http://b.example:1"}, "h", "http://b.example:1", false, true},
        {{"https://a.example"}, "h", "http://a.example", false, false},
        {{"https://a.example"}, "h", "http://h", false, false},
        {{"*"}, "h", "https://anything", false, true},
        {{"null"}, "h", "null", false, true},
    };
    for (const auto& one : cases) {
        CAPTURE(one.host);
        CAPTURE(one.origin);
        const auto judged = judge(
            handshake(fmt::format("Host: {}\r\nOrigin: {}\r\n", one.host, one.origin), {"Host"}),
            {.origins = one.listed}, one.is_secure);
        CHECK(judged.told().substr(0, 3) == (one.is_allowed ? "101" : "403"));
    }
    CHECK(judge(handshake("Origin: http://h\r\nOrigin: http://h\r\n")).told()
          == "400: it has several Origin");
    CHECK(judge(handshake("Origin: http://evil\r\n")).told()
          == "403: pages of the origin \"http://evil\" may not connect to \"example.com:8080\"");
}

TEST_CASE("server handshake: the first of our subprotocols that the client offers, or that of "
          "on_request")
{
    const ServerOptions options{.subprotocols = {"v3", "v2"}};
    const auto offer = [&](std::string_view list) {
        return judge(handshake(fmt::format("Sec-WebSocket-Protocol: {}\r\n", list)), options);
    };
    CHECK(offer("v1, v2, v3").decision.opening->subprotocol == "v3");
    CHECK(offer("v2\r\nSec-WebSocket-Protocol: v1").decision.opening->subprotocol == "v2");
    CHECK(offer("V2").decision.opening->subprotocol.empty());
    CHECK(judge(handshake(), options).decision.opening->subprotocol.empty());

    auto judged = offer("v1, v2");
    apply({.subprotocol = "v1", .headers = {{"Set-Cookie", "a=b"}}}, judged.request,
          judged.decision);
    CHECK(bytes_of(*judged.decision.opening)
              .ends_with("Sec-WebSocket-Protocol: v1\r\nSet-Cookie: a=b\r\n\r\n"));
    struct Case {
        RequestAnswer answer;
        const char* told;
    };
    const Case cases[] = {
        {{}, "101"},
        {{.status = 403}, "403: on_request refuses it"},
        {{.status = 302, .headers = {{"Location", "/"}}}, "302: on_request refuses it"},
        {{.subprotocol = "v9"}, "500: on_request: it chose a subprotocol that the client does not offer"},
        {{.status = 200}, "500: on_request: its status is 200, and must be 101 or 300 to 599"},
        {{.status = 600}, "500: on_request: its status is 600, and must be 101 or 300 to 599"},
        {{.headers = {{"Upgrade", "x"}}},
         "500: on_request: the header field \"Upgrade\" is the handshake's own"},
        {{.status = 403, .headers = {{"X", "a\r\nInjected: b"}}},
         "500: on_request: the value of the header field \"X\" (14 bytes) has a byte 0x0d at "
         "position 1, which no field may have"},
    };
    for (const auto& one : cases) {
        judged = offer("v1");
        apply(one.answer, judged.request, judged.decision);
        CHECK(judged.told() == one.told);
    }
}

TEST_CASE("server handshake: pages, their tags, and what is elsewhere")
{
    int made = 0;
    ServerOptions options{.path = "/feed",
                          .pages = {{"/", {.bytes = "<p>"}},
                                    {"/metrics",
                                     {.content_type = "text/plain",
                                      .make = [&] { return std::to_string(++made); }}},
                                    {"/bad", {.make = []() -> std::string {
                                         throw std::runtime_error{"bad"};
                                     }}}}};
    const auto get = [&](std::string_view target, std::string_view more = {},
                         std::string_view method = "GET") {
        return judge(fmt::format("{} {} HTTP/1.1\r\nHost: h\r\n{}\r\n", method, target, more),
                     options);
    };
    const std::chrono::sys_seconds now{};
    const auto page = get("/?a=b");
    CHECK(page.told() == "200");
    CHECK(page.field("Content-Type") == "text/html; charset=utf-8");
    CHECK(page.field("Cache-Control") == "no-cache");
    CHECK(bytes_of(page.decision.answer, now).ends_with("Content-Length: 3\r\n\r\n<p>"));
    const auto tag = page.field("ETag");
    CHECK(tag.size() > 2);
    CHECK(bytes_of(get("/", {}, "HEAD").decision.answer, now).ends_with("Content-Length: 3\r\n\r\n"));
    for (const auto& known : {tag, "W/" + tag, "\"other\", " + tag, std::string{"*"}}) {
        const auto unchanged = get("/", fmt::format("If-None-Match: {}\r\n", known));
        CHECK(unchanged.told() == "304");
        CHECK(unchanged.field("ETag") == tag);
        const auto bytes = bytes_of(unchanged.decision.answer, now);
        CHECK(bytes.ends_with("no-cache\r\n\r\n"));
        CHECK(bytes.find("Content-Length") == bytes.npos);
    }
    CHECK(get("/", "If-None-Match: \"other\"\r\n").told() == "200");
    CHECK(get("/metrics").field("ETag") != get("/metrics").field("ETag"));
    CHECK(made == 2);
    CHECK_THROWS_AS(get("/bad"), std::runtime_error);
    CHECK(get("/", "Upgrade: h2c\r\n").told() == "200");
    CHECK(get("/", "Content-Length: 1\r\n").told() == "400: it has a body");
    CHECK(get("/", {}, "POST").told() == "405: the method \"POST\" is not allowed here");
    CHECK(get("/other").told() == "404: there is nothing at this path");
    CHECK(get("/feed").told() == "426: it asks for no WebSocket");
    CHECK(judge(handshake(), options).told() == "101");
    CHECK(judge(handshake("", {}, "GET / HTTP/1.1"), options).told()
          == "404: there is no WebSocket at this path");
    options.path.clear(); // then it may be at any path, a page's too
    CHECK(judge(handshake("", {}, "GET / HTTP/1.1"), options).told() == "101");
    CHECK(get("/other").told() == "404: there is nothing at this path");
}

TEST_CASE("server handshake: compression is agreed on, and options that cannot be are named")
{
    const auto offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    CHECK_FALSE(judge(handshake(offer)).decision.opening->deflation);
    const auto judged = judge(handshake(offer), {.compression = CompressionOptions{}});
    CHECK(bytes_of(*judged.decision.opening).find("Sec-WebSocket-Extensions: permessage-deflate\r\n")
          != std::string::npos);

    const auto why = [](const ServerOptions& options) {
        const auto valid = WebSocket::Acceptor::check(options);
        return valid ? std::string{} : valid.error().message();
    };
    CHECK(why({}).empty());
    CHECK(why({.port = 80, .path = "feed"})
          == "cannot listen (ws://127.0.0.1:80): the options make no sense: the option path is "
             "\"feed\", which is no path");
    for (const auto& options : {ServerOptions{.origins = {"example.com"}},
                                ServerOptions{.origins = {"https://example.com/"}},
                                ServerOptions{.subprotocols = {"a", "a"}},
                                ServerOptions{.subprotocols = {"a b"}},
                                ServerOptions{.compression = CompressionOptions{.level = 10}},
                                ServerOptions{.max_head_bytes = 0},
                                ServerOptions{.pages = {{"index", {}}}},
                                ServerOptions{.pages = {{"/", {.content_type = "a\nb"}}}},
                                ServerOptions{.max_message_bytes = 0}}) {
        const auto valid = WebSocket::Acceptor::check(options);
        REQUIRE_FALSE(valid);
        CHECK(valid.error() == Error::bad_options);
        CHECK(valid.error().endpoint() == "ws://127.0.0.1:0");
    }
    CHECK(WebSocket::Acceptor::endpoint({.unix_path = "/run/a.sock"}) == "ws+unix:/run/a.sock");
    CHECK(WebSocket::Acceptor::endpoint({.address = "::1", .port = 1, .tls = TlsServerOptions{}})
          == "wss://[::1]:1");
}

TEST_CASE("server handshake: secrets are compared whole")
{
    CHECK(equal_in_constant_time("secret", "secret"));
    CHECK_FALSE(equal_in_constant_time("secre", "secret"));
    CHECK_FALSE(equal_in_constant_time("secretsecret", "secret"));
    CHECK_FALSE(equal_in_constant_time("Secret", "secret"));
    CHECK_FALSE(equal_in_constant_time("x", ""));
    CHECK(equal_in_constant_time("", ""));
}

} // namespace server_handshake_test
