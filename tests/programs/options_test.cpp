#include "options.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace sidecar_cat;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

using Arguments = std::vector<std::string>;
using Fields = std::vector<std::pair<std::string, std::string>>;

Settings settings_of(const Arguments& arguments)
{
    auto parsed = parse_command_line(arguments);
    if (const auto* exit = std::get_if<EarlyExit>(&parsed))
        FAIL(exit->text);
    return std::get<Settings>(std::move(parsed));
}

EarlyExit exit_of(const Arguments& arguments)
{
    auto parsed = parse_command_line(arguments);
    const auto* exit = std::get_if<EarlyExit>(&parsed);
    return exit ? *exit : EarlyExit{-1, "no mistake"};
}

/// A file that holds `text`, as an argument: "@/tmp/...".
class TextFile {
public:
    explicit TextFile(const std::string& text)
    {
        char path[] = "/tmp/sidecar-cat-test-XXXXXX";
        const int descriptor = ::mkstemp(path);
        REQUIRE(descriptor >= 0);
        ::close(descriptor);
        path_ = path;
        std::ofstream{path_, std::ios::binary} << text;
    }
    TextFile(const TextFile&) = delete;
    TextFile& operator=(const TextFile&) = delete;
    ~TextFile() { std::filesystem::remove(path_); }
    [[nodiscard]] std::string argument() const { return "@" + path_; }

private:
    std::string path_;
};

bool is_wrong(const Arguments& arguments, const std::string& text)
{
    const auto exit = exit_of(arguments);
    CHECK_MESSAGE(exit.text.find(text) != std::string::npos, exit.text);
    CHECK_MESSAGE(exit.text.find("secret") == std::string::npos, exit.text);
    return exit.status == exit_status::usage;
}

} // namespace

TEST_CASE("options: a URL alone has every default")
{
    const auto settings = settings_of({"ws://h"});
    CHECK(settings.websocket.url == "ws://h");
    CHECK_FALSE(settings.tcp);
    CHECK(settings.timeout == 10s);
    CHECK(settings.websocket.max_message_bytes == 1u << 20);
    CHECK_FALSE(settings.feed.ping_interval);
    CHECK_FALSE(settings.feed.reconnect);
    CHECK_FALSE(settings.input_binary);
    CHECK(settings.output_binary == BinaryFormat::hex);
    CHECK(settings.count == 0);
}

TEST_CASE("options: they are before or behind the URL, with or without an equals sign")
{
    for (const auto& arguments :
         {Arguments{"--count", "3", "--json", "ws://h"}, Arguments{"ws://h", "--json", "--count=3"},
          Arguments{"--json", "ws://h", "--count", "3"},
          Arguments{"--count=3", "--json", "--", "ws://h"}}) {
        const auto settings = settings_of(arguments);
        CHECK(settings.count == 3);
        CHECK(settings.is_json);
        CHECK(settings.url == "ws://h");
    }
}

TEST_CASE("options: a host and a port are a stream's URL")
{
    CHECK(settings_of({"h", "7000"}).url == "tcp://h:7000");
    CHECK(settings_of({"h", "--json", "7000"}).tcp->port == 7000);
    CHECK(settings_of({"::1", "7000"}).tcp->host == "::1");
    CHECK(settings_of({"[::1]", "7000"}).tcp->host == "::1");
    CHECK(is_wrong({"h", "0"}, "host:port"));
    CHECK(is_wrong({"h", "65536"}, "host:port"));
    CHECK(is_wrong({"", "7000"}, "the URL is missing"));
    CHECK(is_wrong({"h", ""}, "host:port"));
    CHECK(is_wrong({"h", "secret"}, "more than one URL"));
    CHECK(is_wrong({"ws://secret", "7000"}, "more than one URL"));
    CHECK(is_wrong({"h", "7000", "secret"}, "more than one URL"));
}

TEST_CASE("options: -H is --header")
{
    CHECK(settings_of({"-H", "A: 1", "--header=B: 2", "ws://h"}).websocket.headers
          == Fields{{"A", "1"}, {"B", "2"}});
    CHECK(is_wrong({"ws://h", "-H"}, "its value is missing"));
    CHECK(is_wrong({"-H", "A: 1", "tcp://h:1"}, "only for WebSocket"));
}

TEST_CASE("options: what the transport is given")
{
    const auto websocket =
        settings_of({"--header", "A: 1", "--subprotocol", "a, b", "--header", "B:2 ",
                     "--subprotocol", "c", "--auth", "user:pass:word", "--compress", "--cert",
                     "c.pem", "--insecure", "--proxy", "http://h:3128", "wss://h"})
            .websocket;
    CHECK(websocket.headers == Fields{{"A", "1"}, {"B", "2"}});
    CHECK(websocket.subprotocols == Arguments{"a", "b", "c"});
    CHECK(websocket.basic_auth->user == "user");
    CHECK(websocket.basic_auth->password == "pass:word");
    CHECK(websocket.compression);
    CHECK(websocket.tls.certificate_file == "c.pem");
    CHECK(websocket.tls.key_file == "c.pem"); // a certificate's file may hold its key
    CHECK(websocket.tls.insecure_skip_verification);
    CHECK(websocket.proxy.url == "http://h:3128");
    CHECK(settings_of({"--proxy", "env", "ws://h"}).websocket.proxy.from_environment);
    CHECK(settings_of({"--ca", "/tmp", "wss://h"}).websocket.tls.ca_directory == "/tmp");
    const auto tcp = *settings_of({"tls://[::1]:5/", "--ca", "f", "--max-message", "2k"}).tcp;
    CHECK(tcp.host == "::1");
    CHECK(tcp.port == 5);
    CHECK(tcp.tls->ca_file == "f");
    CHECK(tcp.max_message_bytes == 2048);
}

TEST_CASE("options: what the feed is given")
{
    const auto settings = settings_of({"--reconnect", "--ping-interval", "0.5", "--max-message",
                                       "1G", "--timeout", "0", "ws://h"});
    CHECK(settings.feed.reconnect->on_disconnect == sidecar::OnDisconnect::keep);
    CHECK(settings.feed.reconnect->at_start);
    CHECK(settings.feed.reconnect->connect_timeout == sidecar::Duration::max());
    CHECK(settings.feed.ping_interval == 500ms);
    CHECK(settings.feed.ping_timeout == 500ms);
    CHECK(settings.feed.inbox.bytes == 0);               // it grows with the message limit
    CHECK(settings.timeout == sidecar::Duration::max()); // zero: no limit
}

TEST_CASE("options: binary messages are printed in hex, a stream's lines as they are")
{
    CHECK(settings_of({"tcp://h:1"}).output_binary == BinaryFormat::raw);
    CHECK(settings_of({"tcp://h:1", "--json"}).output_binary == BinaryFormat::hex);
    CHECK(settings_of({"--binary", "hex", "tcp://h:1"}).output_binary == BinaryFormat::hex);
    CHECK(settings_of({"--binary", "hex", "tcp://h:1"}).input_binary == BinaryFormat::hex);
    CHECK(settings_of({"--binary", "base64", "ws://h"}).output_binary == BinaryFormat::base64);
    CHECK_FALSE(settings_of({"--binary", "base64", "ws://h"}).input_binary); // text is sent
}

TEST_CASE("options: a secret is read from a file or a variable, without blanks and without the "
          "byte order mark that an editor writes")
{
    for (const auto& text : {"bearer:t\n"s,
                             "\xef\xbb\xbf"
                             "bearer:t"s,
                             "\xef\xbb\xbf bearer:t\r\n"s}) {
        const TextFile file{text};
        CHECK(settings_of({"--auth", file.argument(), "ws://h"}).websocket.bearer == "t");
    }
    const TextFile token{"\xef\xbb\xbftoken\n"};
    CHECK(settings_of({"--bearer", token.argument(), "ws://h"}).websocket.bearer == "token");
    const TextFile proxy{"\xef\xbb\xbfhttp://u:p@h:1\n"};
    CHECK(settings_of({"--proxy", proxy.argument(), "ws://h"}).websocket.proxy.url
          == "http://u:p@h:1");
    const TextFile fields{"\xef\xbb\xbf"
                          "A: 1\r\n\nB:\t2 3 \n"};
    CHECK(settings_of({"--header", fields.argument(), "ws://h"}).websocket.headers
          == Fields{{"A", "1"}, {"B", "2 3"}});
    ::setenv("SIDECAR_CAT_TEST", "a:b:c", 1);
    CHECK(settings_of({"--auth", "env:SIDECAR_CAT_TEST", "ws://h"}).websocket.basic_auth->password
          == "b:c");
    const TextFile empty{"\xef\xbb\xbf\n"};
    CHECK(is_wrong({"--auth", empty.argument(), "ws://h"}, "--auth: there is nothing in it"));
    CHECK(is_wrong({"--bearer", "@/tmp", "ws://h"}, "--bearer: the file /tmp cannot be read"));
    CHECK(is_wrong({"--auth", "@/dev/zero", "ws://h"}, "the file /dev/zero cannot be read"));
}

TEST_CASE("options: numbers")
{
    const auto count = [](const char* text) { return exit_of({"--count", text, "ws://h"}).status; };
    CHECK(count("1") == -1);
    CHECK(settings_of({"--count", "18446744073709551615", "ws://h"}).count == UINT64_MAX);
    for (const auto* wrong : {"0", "-1", "+1", "1.5", "x", "1x", " 1", "18446744073709551616"})
        CHECK_MESSAGE(count(wrong) == exit_status::usage, wrong);
    const auto size = [](const char* text) {
        auto parsed = parse_command_line({"--max-message", text, "ws://h"});
        const auto* settings = std::get_if<Settings>(&parsed);
        return settings ? settings->websocket.max_message_bytes : 0;
    };
    CHECK(size("1") == 1);
    CHECK(size("4k") == 4096);
    CHECK(size("2M") == 2u << 20);
    CHECK(size("1g") == 1u << 30);
    CHECK(size("1048576k") == 1u << 30);
    for (const auto* wrong :
         {"k", "0", "0k", "-1", "1.5k", "1kb", "2G", "1048577k", "1 k", "99999999999999999999"})
        CHECK_MESSAGE(size(wrong) == 0, wrong);
    CHECK(settings_of({"--timeout", "0.25", "ws://h"}).timeout == 250ms);
    for (const auto* wrong :
         {".", "-1", "1s", "inf", "nan", "1e3", "0x10", "1.2.3", "100000001", " 1"})
        CHECK_MESSAGE(exit_of({"--timeout", wrong, "ws://h"}).status == exit_status::usage, wrong);
}

TEST_CASE("options: each mistake ends with status 2, says what it is, and repeats no value")
{
    const std::pair<Arguments, const char*> mistakes[] = {
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
        {{"--count", "0", "ws://h"}, "--count: it must be a whole number"},
        {{"--count", "", "ws://h"}, "--count: it is empty"},
        {{"--auth", "a:secret", "--auth", "a:secret", "ws://h"}, "--auth: it is given more than"},
        {{"--json=secret", "ws://h"}, "--json takes no value\n"},
        {{"--timeout", "-1", "ws://h"}, "--timeout: it must be a number of seconds"},
        {{"--max-message", "0", "ws://h"}, "--max-message: it must be a number of bytes"},
        {{"--binary", "octal", "ws://h"}, "--binary: it must be hex, base64 or raw"},
        {{"--header", "secret", "ws://h"}, "--header: a header is written"},
        {{"--header", "@missing", "ws://h"}, "--header: the file missing cannot be read"},
        {{"--header", "A: b", "tcp://h:1"}, "--header: only for WebSocket"},
        {{"--subprotocol", "a", "unix:/s"}, "--subprotocol: only for WebSocket"},
        {{"--auth", "secret", "ws://h"}, "--auth: it must be user:password"},
        {{"--auth", "bearer:", "ws://h"}, "--auth: it must be user:password"},
        {{"--auth", "env:MISSING_HERE", "ws://h"}, "--auth: the environment has no MISSING_HERE"},
        {{"--bearer", "secret", "tcp://h:1"}, "--bearer: only for WebSocket"},
        {{"--compress", "tcp://h:1"}, "--compress: only for WebSocket"},
        {{"--ping-interval", "1", "tcp://h:1"}, "--ping-interval: only for WebSocket"},
        {{"--ca", "f", "ws://h"}, "--ca: only for TLS"},
        {{"--insecure", "tcp://h:1"}, "--insecure: only for TLS"},
        {{"--key", "f", "wss://h"}, "--key: needs --cert"},
        {{"--ca", "", "wss://h"}, "--ca: it is empty"},
        {{"--proxy", "http://h:1", "unix:/s"}, "--proxy: not for a Unix socket"},
        {{"--proxy", "http://h:1", "wss+unix:/s"}, "--proxy: not for a Unix socket"},
        {{"--quiet", "--verbose", "ws://h"}, "--quiet: not with --verbose"},
        {{"http://secret"}, "the URL must begin with ws://"},
    };
    for (const auto& [arguments, text] : mistakes)
        CHECK_MESSAGE(is_wrong(arguments, text), text);
}

TEST_CASE("options: the scheme of the URL decides the transport, in either case of letters")
{
    for (const auto* url : {"ws://h/p?q", "WS://h", "ws+unix:/s:/r", "wss://h", "wss+unix:/s:/r"}) {
        CHECK(settings_of({url}).websocket.url == url);
        CHECK_FALSE(settings_of({url}).tcp);
    }
    const auto is = [](const char* url, bool is_secure, const char* host, int port) {
        const auto tcp = settings_of({url}).tcp;
        return tcp && tcp->tls.has_value() == is_secure && tcp->host == host && tcp->port == port;
    };
    CHECK(is("tcp://localhost:80", false, "localhost", 80));
    CHECK(is("tls://1.2.3.4:65535/", true, "1.2.3.4", 65535));
    CHECK(is("TCP://[fe80::1%eth0]:1", false, "fe80::1%eth0", 1));
    CHECK(is("unix:/a/b c", false, "unix:/a/b c", 0));
    CHECK(is("unix:///a", false, "unix:/a", 0));
    CHECK(is("unix:@name", false, "unix:@name", 0));
    const auto nats = settings_of({"nats://u:p@h:1/a.b", "--max-message", "2k"}).nats.value();
    CHECK(nats.url == "nats://u:p@h:1");
    CHECK(nats.subscriptions.at(0).subject == "a.b");
    CHECK(nats.subject == "a.b");
    CHECK(nats.max_message_bytes == 2048);
    const auto wild = settings_of({"nats+tls://h/a.>", "--ca", "f"}).nats.value();
    CHECK(wild.url == "tls://h");
    CHECK(wild.subscriptions.at(0).subject == "a.>");
    CHECK(wild.subject.empty());
    CHECK(wild.tls.ca_file == "f");
}

TEST_CASE("options: what is no URL of ours is refused without repeating it")
{
    for (const auto* wrong : {"h",
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
        CAPTURE(wrong);
        CHECK(is_wrong({wrong}, "sidecar-cat: "));
    }
}

TEST_CASE("options: a recording is a file, or is named like one, and has options of its own")
{
    const auto settings = settings_of({"run.sidecar"});
    REQUIRE(settings.replay);
    CHECK(settings.replay->file == "run.sidecar");
    CHECK(settings.replay->speed == 1);
    CHECK(settings.feed.reconnect); // all its connections
    CHECK_FALSE(settings.tcp);
    const TextFile file{"any name"};
    const auto name = file.argument().substr(1);
    const auto others = settings_of({"--speed", "0.5", "--max-message", "2k", name});
    REQUIRE(others.replay);
    CHECK(others.replay->speed == 0.5);
    CHECK(others.replay->max_message_bytes == 2048);
    CHECK(others.replay->file == name);
    for (const auto& arguments :
         {Arguments{"--reconnect"}, Arguments{"--timeout", "1"}, Arguments{"--record", "secret"},
          Arguments{"--proxy", "http://secret"}, Arguments{"--compress"},
          Arguments{"--insecure"}}) {
        auto all = arguments;
        all.emplace_back("run.sidecar");
        CHECK(is_wrong(all, "not for a recording"));
    }
    CHECK(is_wrong({"--speed", "1", "ws://h"}, "only for a recording"));
    for (const auto* wrong : {"-1", "x", "inf", "1e3", "1x"})
        CHECK(is_wrong({"--speed", wrong, "run.sidecar"}, "a number from 0 on"));
    CHECK(is_wrong({"/tmp"}, "a recording is a file"));
    CHECK(is_wrong({"--force", "ws://h"}, "needs --record"));
    CHECK(settings_of({"--record", "f", "tcp://h:1"}).record_file == "f");
    CHECK(settings_of({"--record", "f", "--force", "ws://h"}).replaces_record);
}

TEST_CASE("options: --listen and --relay take an address, in the forms of a URL")
{
    struct Row {
        const char* given;
        bool is_websocket;
        const char* address;
        int port;
        const char* unix_path;
    };
    const Row rows[] = {
        {"8080", true, "127.0.0.1", 8080, ""},
        {"0", true, "127.0.0.1", 0, ""},
        {"0.0.0.0:80", true, "0.0.0.0", 80, ""},
        {"[::1]:80", true, "::1", 80, ""},
        {"localhost:80", true, "localhost", 80, ""},
        {"ws://[::]:80/", true, "::", 80, ""},
        {"ws+unix:/run/s", true, "127.0.0.1", 0, "/run/s"},
        {"tcp://80", false, "127.0.0.1", 80, ""},
        {"TCP://10.0.0.1:80", false, "10.0.0.1", 80, ""},
        {"unix:/run/s", false, "127.0.0.1", 0, "/run/s"},
        {"unix:@s", false, "127.0.0.1", 0, "@s"},
    };
    const auto is = [](const auto& options, const Row& row) {
        CHECK(options.address == row.address);
        CHECK(options.port == row.port);
        CHECK(options.unix_path == row.unix_path);
        CHECK(options.max_message_bytes == 2048);
    };
    for (const auto& row : rows)
        for (const bool is_relay : {false, true}) {
            CAPTURE(row.given);
            Arguments arguments{is_relay ? "--relay" : "--listen", row.given, "--max-message=2k"};
            if (is_relay)
                arguments.emplace_back("ws://h");
            const auto settings = settings_of(arguments);
            CHECK(settings.listen.is_relay == is_relay);
            CHECK(settings.listen.tcp.has_value() != row.is_websocket);
            if (row.is_websocket)
                is(settings.listen.websocket, row);
            else
                is(*settings.listen.tcp, row);
        }
    for (const auto* wrong : {"x", "1x", "h:", ":80", "h:65536", "::1:80", "h:80/path", "a b:80",
                              "http://h:80", "unix:", "unix:s", "-1", "user@h:80"}) {
        CAPTURE(wrong);
        CHECK(is_wrong({"--listen", wrong}, "sidecar-cat: "));
        CHECK(is_wrong({"ws://h", "--relay", wrong}, "sidecar-cat: "));
    }
}

TEST_CASE(
    "options: those of the link are those of the clients with --listen, unless they need a link")
{
    const auto settings =
        settings_of({"--listen", "wss://8080", "--bearer", "secret", "--subprotocol", "a,b",
                     "--compress", "--cert", "c.pem", "--origin", "https://a", "--origin",
                     "https://b", "--ping-interval", "3"});
    const auto& server = settings.listen.websocket;
    CHECK(server.origins == std::vector{"https://a"s, "https://b"s});
    CHECK(server.subprotocols == std::vector{"a"s, "b"s});
    CHECK(server.compression);
    CHECK(server.on_request);
    REQUIRE(server.tls);
    CHECK(server.tls->certificates.at(0).certificate_file == "c.pem");
    CHECK(server.tls->certificates.at(0).key_file == "c.pem");
    CHECK(settings.feed.ping_interval == 3s);
    // Those of a relay are its link's
    const auto relay =
        settings_of({"wss://h", "--relay", "80", "--bearer", "secret", "--compress"});
    CHECK_FALSE(relay.listen.websocket.on_request);
    CHECK_FALSE(relay.listen.websocket.compression);
    CHECK(relay.websocket.bearer == "secret");

    const std::pair<Arguments, const char*> mistakes[] = {
        {{"--listen", "80", "ws://secret"}, "--listen: not with a URL"},
        {{"--relay", "80"}, "the URL is missing"},
        {{"--listen", "80", "--relay", "81"}, "only one of --listen and --relay"},
        {{"--listen", "80", "--listen", "81"}, "--listen: it is given more than once"},
        {{"--origin", "a", "ws://h"}, "--origin: only with --listen and --relay"},
        {{"--origin", "a", "--listen", "tcp://80"}, "--origin: only for WebSocket"},
        {{"--listen", "80", "--header", "A: b"}, "--header: not with --listen"},
        {{"--listen", "80", "--auth", "a:secret"}, "--auth: not with --listen"},
        {{"--listen", "80", "--reconnect"}, "--reconnect: not with --listen"},
        {{"--listen", "80", "--timeout", "1"}, "--timeout: not with --listen"},
        {{"--listen", "80", "--record", "f"}, "--record: not with --listen"},
        {{"--listen", "80", "--speed", "1"}, "--speed: not with --listen"},
        {{"--listen", "80", "--proxy", "env"}, "--proxy: not with --listen"},
        {{"--listen", "wss://80", "--cert", "c", "--ca", "f"}, "--ca: not with --listen"},
        {{"--listen", "wss://80"}, "--listen: TLS needs --cert"},
        {{"--listen", "80", "--cert", "c"}, "--cert: only for TLS"},
        {{"--listen", "tcp://80", "--bearer", "secret"}, "--bearer: only for WebSocket"},
        {{"--relay", "tls://80", "ws://h"}, "--relay: not over TLS"},
        {{"--relay", "nats://h", "ws://h"}, "--relay: not for NATS"},
        {{"--listen", "nats://h/a"}, "--listen: not for NATS"},
        {{"nats://h"}, "the URL names no subject"},
        {{"nats://h/"}, "the URL names no subject"},
        {{"--record", "f", "nats://h/a"}, "--record: not for NATS"},
        {{"--bearer", "secret", "nats://h/a"}, "--bearer: only for WebSocket"},
    };
    for (const auto& [arguments, text] : mistakes)
        CHECK_MESSAGE(is_wrong(arguments, text), text);
}
