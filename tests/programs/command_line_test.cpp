#include "command_line.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sidecar_cat;
using namespace std::chrono_literals;

namespace {

using Arguments = std::vector<std::string>;

const SecretSources no_sources{.file = [](const std::string&) { return std::nullopt; },
                               .environment = [](const std::string&) { return std::nullopt; }};

Settings settings_of(const Arguments& arguments)
{
    auto parsed = parse_command_line(arguments, no_sources);
    if (const auto* exit = std::get_if<EarlyExit>(&parsed))
        FAIL(exit->text);
    return std::get<Settings>(std::move(parsed));
}

EarlyExit exit_of(const Arguments& arguments)
{
    auto parsed = parse_command_line(arguments, no_sources);
    const auto* exit = std::get_if<EarlyExit>(&parsed);
    return exit ? *exit : EarlyExit{-1, "no mistake"};
}

} // namespace

TEST_CASE("command line: a URL alone has every default")
{
    const auto settings = settings_of({"ws://h"});
    CHECK(settings.connection.target.url == "ws://h");
    CHECK(settings.connection.timeout == 10s);
    CHECK(settings.connection.max_message_bytes == 1u << 20);
    CHECK(settings.connection.heartbeat == 0s);
    CHECK(settings.input.is_read);
    CHECK_FALSE(settings.input.binary);
    CHECK(settings.output.binary == BinaryFormat::hex);
    CHECK(settings.count == 0);
    CHECK(settings.duration == 0s);
}

TEST_CASE("command line: options stand before or behind the URL, with or without an equals sign")
{
    for (const auto& arguments :
         {Arguments{"--count", "3", "--json", "ws://h"}, Arguments{"ws://h", "--json", "--count=3"},
          Arguments{"--json", "ws://h", "--count", "3"},
          Arguments{"--count=3", "--json", "--", "ws://h"}}) {
        const auto settings = settings_of(arguments);
        CHECK(settings.count == 3);
        CHECK(settings.output.is_json);
        CHECK(settings.connection.target.url == "ws://h");
    }
}

TEST_CASE("command line: what may be repeated takes one value each time")
{
    const auto settings = settings_of({"--header", "A: 1", "--subprotocol", "a,b", "ws://h",
                                       "--header", "B: 2", "--subprotocol", "c"});
    const auto& handshake = settings.connection.handshake;
    CHECK(handshake.headers == std::vector<HeaderField>{{"A", "1"}, {"B", "2"}});
    CHECK(handshake.subprotocols == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("command line: zero as timeout is no limit")
{
    CHECK(settings_of({"--timeout", "0", "ws://h"}).connection.timeout == sidecar::Duration::max());
}

TEST_CASE("command line: streams of bytes print bytes raw, WebSockets in hex, and as was asked for")
{
    CHECK(settings_of({"tcp://h:1"}).output.binary == BinaryFormat::raw);
    CHECK(settings_of({"--binary", "hex", "tcp://h:1"}).output.binary == BinaryFormat::hex);
    CHECK(settings_of({"--binary", "base64", "ws://h"}).output.binary == BinaryFormat::base64);
    CHECK(settings_of({"--binary", "base64", "ws://h"}).input.binary == BinaryFormat::base64);
    CHECK(settings_of({"--framing", "raw", "tcp://h:1"}).output.is_raw);
}

TEST_CASE("command line: echo reads no input")
{
    CHECK_FALSE(settings_of({"--echo", "ws://h"}).input.is_read);
    CHECK_FALSE(settings_of({"--no-stdin", "ws://h"}).input.is_read);
}

TEST_CASE("command line: a certificate's file may hold its key")
{
    CHECK(settings_of({"--cert", "c.pem", "wss://h"}).connection.tls.key == "c.pem");
    CHECK(settings_of({"--cert", "c.pem", "--key", "k.pem", "wss://h"}).connection.tls.key
          == "k.pem");
}

TEST_CASE("command line: a redirection may lead to TLS, so its options have a meaning there")
{
    const auto tls = settings_of({"--ca", "f", "--max-redirects", "1", "ws://h"}).connection.tls;
    CHECK(tls.ca == "f");
}

TEST_CASE("command line: each mistake ends with status 2 and says what it is")
{
    struct Mistake {
        Arguments arguments;
        std::string text;
    };
    const std::vector<Mistake> mistakes{
        {{}, "the URL is missing"},
        {{"--json"}, "the URL is missing"},
        {{"--nonsense"}, "there is no option --nonsense"},
        {{"ws://h", "ws://user:secret@i"}, "more than one URL"},
        {{"--nonsense=secret", "ws://h"}, "there is no option --nonsense"},
        {{"--proxyhttp://u:secret@h", "ws://h"}, "there is no option --proxyhttp\n"},
        {{"--auth:u:secret", "ws://h"}, "there is no option --auth\n"},
        {{"-auth", "u:secret", "ws://h"}, "there is no option -auth\n"},
        {{"-x", "ws://h"}, "there is no option -x"},
        {{"ws://h", "--count"}, "--count: its value is missing"},
        {{"ws://h", "--auth"}, "--auth: its value is missing"},
        {{"--count", "0", "ws://h"}, "--count: it must be a whole number"},
        {{"--count", "", "ws://h"}, "--count: it must be a whole number"},
        {{"--count", "1", "--count", "2", "ws://h"}, "--count: it stands there more than once"},
        {{"--auth", "a:secret", "--auth", "a:secret", "ws://h"},
         "--auth: it stands there more than once"},
        {{"--json=secret", "ws://h"}, "--json takes no value\n"},
        {{"--insecure=secret", "wss://h"}, "--insecure takes no value\n"},
        {{"--duration", "0", "ws://h"}, "--duration: it must be more than 0"},
        {{"--duration", "soon", "ws://h"}, "--duration: it must be a number of seconds"},
        {{"--timeout", "-1", "ws://h"}, "--timeout"},
        {{"--heartbeat", "x", "ws://h"}, "--heartbeat: it must be a number of seconds"},
        {{"--max-message", "0", "ws://h"}, "--max-message: it must be a number of bytes"},
        {{"--max-redirects", "many", "ws://h"}, "--max-redirects: it must be a whole number"},
        {{"--binary", "octal", "ws://h"}, "--binary: it must be hex, base64 or raw"},
        {{"--framing", "blocks", "tcp://h:1"}, "--framing: it must be lines"},
        {{"--framing", "fixed:2M", "tcp://h:1"}, "larger than --max-message"},
        {{"--framing", "lines", "ws://h"}, "--framing: only for tcp://"},
        {{"--header", "secret", "ws://h"}, "--header: a header is written"},
        {{"--header", "@missing", "ws://h"}, "--header: the file missing cannot be read"},
        {{"--header", "A: b", "tcp://h:1"}, "--header: only for WebSocket"},
        {{"--subprotocol", "a b", "ws://h"}, "--subprotocol: a name has"},
        {{"--subprotocol", "a", "unix:/s"}, "--subprotocol: only for WebSocket"},
        {{"--origin", "x", "tcp://h:1"}, "--origin: only for WebSocket"},
        {{"--auth", "secret", "ws://h"}, "--auth: it must be user:password"},
        {{"--auth", "bearer:", "ws://h"}, "--auth: there is no token behind bearer:"},
        {{"--auth", "a:secret", "tcp://h:1"}, "--auth: only for WebSocket"},
        {{"--auth", "a:secret", "--header", "authorization: secret", "ws://h"},
         "--auth: --header has an Authorization already"},
        {{"--compress", "tcp://h:1"}, "--compress: only for WebSocket"},
        {{"--heartbeat", "1", "tcp://h:1"}, "--heartbeat: only for WebSocket"},
        {{"--ca", "f", "ws://h"}, "--ca: only for TLS"},
        {{"--insecure", "tcp://h:1"}, "--insecure: only for TLS"},
        {{"--key", "f", "wss://h"}, "--key: needs --cert"},
        {{"--proxy", "", "ws://h"}, "--proxy: it must be http://"},
        {{"--proxy", "http://h:1", "unix:/s"}, "--proxy: not for a Unix socket"},
        {{"--linger", "1", "ws://h"}, "--linger: needs --close-on-eof"},
        {{"--close-on-eof", "--no-stdin", "ws://h"}, "--close-on-eof: there is no input"},
        {{"http://secret"}, "URL: the URL must begin with ws://"},
    };
    for (const auto& mistake : mistakes) {
        const auto exit = exit_of(mistake.arguments);
        CAPTURE(mistake.text);
        CHECK(exit.status == 2);
        CHECK_MESSAGE(exit.text.find(mistake.text) != std::string::npos, exit.text);
        CHECK(exit.text.find("secret") == std::string::npos);
        CHECK(exit.text.ends_with("Try 'sidecar-cat --help'.\n"));
    }
}

TEST_CASE("command line: help and version end with status 0, whatever else is there")
{
    CHECK(exit_of({"--help"}).status == 0);
    CHECK(exit_of({"--help"}).text.find("Examples:") != std::string::npos);
    CHECK(exit_of({"-h", "ws://h"}).status == 0);
    CHECK(exit_of({"--version"}).status == 0);
    CHECK(exit_of({"--version"}).text.starts_with("sidecar-cat "));
}
