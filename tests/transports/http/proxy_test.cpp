#include "authorization.hpp"
#include "proxy.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

namespace proxy_test {

using namespace sidecar;
using http::parse_proxy;
using http::ProxyEnvironment;

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

std::map<std::string, std::string> variables; // of the environment that the test plays

const char* get(const char* name)
{
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
}

TEST_CASE("proxy: its URL with scheme or without, with user information or without")
{
    struct Case {
        std::string url, host;
        std::uint16_t port;
        std::string user, password, shown;
        bool is_secure = false;
    };
    const Case cases[] = {
        {"http://p", "p", 80, "", "", "http://p:80"},
        {"http://p/", "p", 80, "", "", "http://p:80"},
        {"p:3128", "p", 3128, "", "", "http://p:3128"},
        {"HTTP://P:1", "P", 1, "", "", "http://P:1"},
        {"http://[::1]:3128", "::1", 3128, "", "", "http://[::1]:3128"},
        {"http://u:pw@p:3128", "p", 3128, "u", "pw", "http://p:3128"},
        {"u:pw@p", "p", 80, "u", "pw", "http://p:80"},
        {"http://u@p", "p", 80, "u", "", "http://p:80"},
        {"http://u:@p", "p", 80, "u", "", "http://p:80"},
        {"http://:pw@p", "p", 80, "", "pw", "http://p:80"},
        {"http://a%40b:%3Ax%25@p", "p", 80, "a@b", ":x%", "http://p:80"},
        {"http://u:a:b@p", "p", 80, "u", "a:b", "http://p:80"},
        {"https://p", "p", 443, "", "", "https://p:443", true},
    };
    for (const auto& c : cases) {
        CAPTURE(c.url);
        const auto proxy = parse_proxy(c.url, "proxy.url");
        REQUIRE(proxy.has_value());
        CHECK(proxy->host == c.host);
        CHECK(proxy->port == c.port);
        CHECK(proxy->is_secure == c.is_secure);
        CHECK(proxy->user == c.user);
        CHECK(proxy->password == c.password);
        CHECK(proxy->has_user == contains(c.url, "@"));
        CHECK(proxy->shown == c.shown);
    }
}

TEST_CASE("proxy: what is none says which option it came from and why, and no secret")
{
    const std::pair<std::string, std::string> cases[] = {
        {"socks5://u:s3cret@p:1080", "only proxies of http://"},
        {"http://", "no host"},
        {"http://u:s3cret@", "no host"},
        {"http://u:s3cret@:80", "no host"},
        {"http://p:0", "port"},
        {"http://u:s3cret@p:99999", "port"},
        {"http://p:x", "port"},
        {"http://p/path", "path"},
        {"http://p?s3cret", "query"},
        {"http://p#s3cret", "query"},
        {"http://u:s3cret%@p", "hexadecimal"},
        {"http://u:s3cret%0a@p", "control"},
        {"http://u%3as3cret:x@p", "':'"},
        {"http://u:s3cret @p", "space"},
        {"http://u:s3cret@p\r\nX: y", "control"},
        {"http:/u:s3cret@p", "path"},
        {"http://[::1", "port"},
        {"http://a|b", "host name"},
    };
    for (const auto& [first, second] : cases) { // clang 14 captures no structured binding
        const auto& url = first;
        const auto& why = second;
        CAPTURE(url);
        const auto proxy = parse_proxy(url, "the variable http_proxy");
        REQUIRE_FALSE(proxy.has_value());
        CHECK(proxy.error() == Error::bad_options);
        const auto text = proxy.error().message();
        CAPTURE(text);
        CHECK(contains(text, "the variable http_proxy"));
        CHECK(contains(text, why));
        CHECK_FALSE(contains(text, "s3cret"));
        CHECK_FALSE(contains(text, "\r"));
    }
}

TEST_CASE("proxy: the environment names one for each scheme, lower case first")
{
    struct Case {
        std::map<std::string, std::string> variables;
        bool is_secure;
        std::string value, name;
    };
    const Case cases[] = {
        {{}, false, "", ""},
        {{{"http_proxy", "a"}}, false, "a", "http_proxy"},
        {{{"http_proxy", "a"}}, true, "", ""},
        {{{"https_proxy", "a"}}, true, "a", "https_proxy"},
        {{{"https_proxy", "a"}}, false, "", ""},
        {{{"HTTP_PROXY", "a"}}, false, "a", "HTTP_PROXY"},
        {{{"http_proxy", "a"}, {"HTTP_PROXY", "b"}}, false, "a", "http_proxy"},
        {{{"http_proxy", ""}, {"HTTP_PROXY", "b"}}, false, "b", "HTTP_PROXY"},
        {{{"HTTPS_PROXY", "a"}}, true, "a", "HTTPS_PROXY"},
        {{{"all_proxy", "a"}}, false, "a", "all_proxy"},
        {{{"ALL_PROXY", "a"}}, true, "a", "ALL_PROXY"},
        {{{"all_proxy", "a"}, {"https_proxy", "b"}}, true, "b", "https_proxy"},
        // A CGI program's HTTP_PROXY is the client's field "Proxy"
        {{{"HTTP_PROXY", "a"}, {"REQUEST_METHOD", "GET"}}, false, "", ""},
        {{{"http_proxy", "a"}, {"REQUEST_METHOD", "GET"}}, false, "a", "http_proxy"},
        {{{"HTTPS_PROXY", "a"}, {"REQUEST_METHOD", "GET"}}, true, "a", "HTTPS_PROXY"},
        {{{"http_proxy", "a"}, {"no_proxy", "h.example"}}, false, "", ""},
        {{{"all_proxy", "a"}, {"NO_PROXY", "*"}}, false, "", ""},
        {{{"http_proxy", "a"}, {"no_proxy", "other"}, {"NO_PROXY", "*"}}, false, "a", "http_proxy"},
        {{{"http_proxy", "a"}, {"no_proxy", "h.example:81"}}, false, "a", "http_proxy"},
    };
    for (const auto& c : cases) {
        variables = c.variables;
        const auto chosen =
            http::proxy_for(ProxyEnvironment::read(get), "h.example", 80, c.is_secure);
        CHECK(chosen.value == c.value);
        CHECK(chosen.name == c.name);
    }
}

TEST_CASE("authorization: base64 is RFC 4648's, user and password RFC 7617's")
{
    const std::pair<std::string, std::string> cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd", "//79"},
    };
    for (const auto& [plain, encoded] : cases)
        CHECK(http::base64(plain) == encoded);
    CHECK(http::basic_authorization("Aladdin", "open sesame")
          == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

} // namespace proxy_test
