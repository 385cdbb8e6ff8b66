#include "options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace sidecar_cat {
namespace {

constexpr std::string_view head = R"(Usage: sidecar-cat [options] URL
       sidecar-cat [options] HOST PORT
       sidecar-cat [options] FILE.sidecar
       sidecar-cat [options] --listen [ADDRESS:]PORT
Prints each message of a network feed on a line, and sends each line of standard input.
With --listen it is the server: lines go to all clients, their messages are printed.

URL:
  ws://host:port/path  wss://...           WebSocket, in the clear or over TLS
  ws+unix:/path:/resource                  WebSocket over a Unix socket
  tcp://host:port  tls://host:port         lines in a stream of bytes; HOST PORT is tcp://
  unix:/path                               the same over a Unix socket
  nats://host/subject  nats+tls://...      a subject of a NATS server; it may have wildcards
  FILE.sidecar                             no URL: a recording, which is played

Options:
)";

constexpr std::string_view foot = R"(
Exit status:
  0 clean   1 could not connect   2 usage   3 link lost   4 stopped uncleanly

Examples:
  sidecar-cat wss://example.org/feed
      prints the feed; lines that are typed are sent; Ctrl-C stops
  echo '{"op":"subscribe"}' | sidecar-cat --count 10 --json wss://example.org/feed
      subscribes, prints ten messages as JSON lines, and stops
  sidecar-cat --bearer @token.txt --header 'X-Team: blue' wss://example.org/private
      authorizes with the token in the file
  sidecar-cat --reconnect --ping-interval 10 --timestamps wss://example.org/feed
      keeps the link up, and prints when each message came
  sidecar-cat --record run.sidecar wss://example.org/feed
  sidecar-cat --speed 10 run.sidecar
      records what comes and goes; plays it ten times as fast
  tail -f log | sidecar-cat --listen 8080
      shows the lines to all that connect to ws://localhost:8080
  sidecar-cat wss://example.org/feed --relay 0.0.0.0:8080
      passes the feed on to all that connect
)";

using View = std::string_view;

/// A mistake of usage. parse_command_line() catches it.
struct Mistake {
    std::string why;
};

/// Parses the whole text as a number; empty: it is none, or too large for T.
template <class T>
std::optional<T> to_number(View text)
{
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

View trimmed(View text)
{
    constexpr View blank = " \t\r\n";
    const auto begin = std::min(text.find_first_not_of(blank), text.size());
    return text.substr(begin, text.find_last_not_of(blank) + 1 - begin);
}

std::uint64_t to_count(View text)
{
    const auto number = to_number<std::uint64_t>(text).value_or(0);
    return number != 0 ? number : throw Mistake{"it must be a whole number from 1 on"};
}

sidecar::Duration to_seconds(View text)
{
    const auto number = text.find_first_not_of("0123456789.") == text.npos // no inf, no exponent
                            ? to_number<double>(text)
                            : std::nullopt;
    if (!number || *number > 1e8)
        throw Mistake{"it must be a number of seconds, such as 10 or 0.5"};
    return sidecar::Duration{std::llround(*number * 1e9)};
}

double to_speed(View text)
{
    const auto number = text.find_first_not_of("0123456789.") == text.npos // no inf, no exponent
                            ? to_number<double>(text)
                            : std::nullopt;
    return number && *number <= 1e9 ? *number : throw Mistake{"it must be a number from 0 on"};
}

std::size_t to_bytes(View text)
{
    constexpr std::size_t max_bytes = std::size_t{1} << 30;
    const auto unit = View{"kKmMgG"}.find(text.back());
    const std::size_t shift = unit == text.npos ? 0 : 10 * (unit / 2 + 1);
    const auto number = to_number<std::size_t>(text.substr(0, text.size() - (shift != 0)));
    if (!number || *number == 0 || *number > max_bytes >> shift)
        throw Mistake{"it must be a number of bytes from 1 to 1G; k, M and G count in steps of "
                      "1024"};
    return *number << shift;
}

BinaryFormat to_binary(View text)
{
    return text == "hex"      ? BinaryFormat::hex
           : text == "base64" ? BinaryFormat::base64
           : text == "raw"    ? BinaryFormat::raw
                              : throw Mistake{"it must be hex, base64 or raw"};
}

/// Reads a small file, without the byte order mark that an editor writes, and without blanks around
/// the content.
std::string content_of(const std::string& path)
{
    std::string text((std::size_t{1} << 20) + 1, '\0');
    std::ifstream file{path, std::ios::binary};
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!file.eof() || file.bad()) // never opened, a directory, or endless
        throw Mistake{fmt::format("the file {} cannot be read", path)};
    text.resize(static_cast<std::size_t>(file.gcount()));
    constexpr View mark = "\xef\xbb\xbf";
    return std::string{trimmed(View{text}.substr(text.starts_with(mark) ? mark.size() : 0))};
}

/// Returns the content of @FILE, the value of env:NAME, or the text itself.
std::string to_secret(View given)
{
    std::string secret{given};
    if (given.starts_with('@')) {
        secret = content_of(secret.substr(1));
    } else if (given.starts_with("env:")) {
        const char* value = std::getenv(secret.c_str() + 4);
        secret = value ? value
                       : throw Mistake{fmt::format("the environment has no {}", given.substr(4))};
    }
    return !secret.empty() ? secret : throw Mistake{"there is nothing in it"};
}

void set_auth(Settings& settings, View given)
{
    constexpr View bearer = "bearer:";
    const auto secret = to_secret(given);
    const auto colon = secret.find(':');
    if (secret.starts_with(bearer) && secret.size() > bearer.size())
        settings.websocket.bearer = secret.substr(bearer.size());
    else if (colon != secret.npos && !secret.starts_with(bearer))
        settings.websocket.basic_auth = {.user = secret.substr(0, colon),
                                         .password = secret.substr(colon + 1)};
    else
        throw Mistake{"it must be user:password or bearer:TOKEN, or @FILE or env:NAME that hold "
                      "one"};
}

void add_headers(Settings& settings, View given)
{
    const bool is_file = given.starts_with('@');
    const auto fields = is_file ? to_secret(given) : std::string{given};
    for (View rest = fields; !rest.empty();) {
        const auto line = rest.substr(0, is_file ? rest.find('\n') : rest.npos);
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        if (trimmed(line).empty())
            continue;
        const auto colon = line.find(':');
        if (colon == line.npos)
            throw Mistake{"a header is written 'Name: value'"};
        settings.websocket.headers.emplace_back(line.substr(0, colon),
                                                trimmed(line.substr(colon + 1)));
    }
}

void add_subprotocols(Settings& settings, View names)
{
    while (!names.empty()) {
        const auto name = names.substr(0, names.find(','));
        names.remove_prefix(std::min(names.size(), name.size() + 1));
        settings.websocket.subprotocols.emplace_back(trimmed(name));
    }
}

void set_proxy(Settings& settings, View given)
{
    auto& proxy = settings.websocket.proxy;
    proxy.from_environment = given == "env";
    if (!proxy.from_environment)
        proxy.url = given.starts_with('@') ? to_secret(given) : std::string{given};
}

void set_ping_interval(Settings& settings, View text)
{
    settings.feed.ping_interval = settings.feed.ping_timeout = to_seconds(text);
}

void set_authorities(Settings& settings, View path)
{
    auto& tls = settings.websocket.tls;
    std::error_code ignored;
    (std::filesystem::is_directory(path, ignored) ? tls.ca_directory : tls.ca_file) = path;
}

void set_listen(Settings& settings, View address, bool is_relay)
{
    if (!settings.listen.address.empty())
        throw Mistake{"only one of --listen and --relay"};
    settings.listen.address = address;
    settings.listen.is_relay = is_relay;
}

/// The URLs for which an option has an effect; for others it is a mistake.
enum class For { all, peer, network, websocket, tls, recording, clients };

struct Option {
    View name, value; ///< a flag has no value
    For urls;
    View help;
    void (*set)(Settings&, View);
    bool is_list = false; ///< may be given several times
    bool serves = false;  ///< has an effect on the clients of --listen
};

constexpr View header = "--header"; // -H, as other programs have it

constexpr Option options[]{
    {"--json", "", For::all, "events, messages and report as JSON lines",
     [](Settings& s, View) { s.is_json = true; }},
    {"--binary", "FORMAT", For::all,
     "hex, base64 or raw: how binary messages are printed; with hex and raw\n"
     "lines are sent as binary messages written so (default: hex; text is sent)",
     [](Settings& s, View value) { s.input_binary = to_binary(value); }},
    {"--timestamps", "", For::all, "the time (UTC) before each message",
     [](Settings& s, View) { s.has_timestamps = true; }},
    {"--count", "N", For::all, "stop after N messages",
     [](Settings& s, View value) { s.count = to_count(value); }},
    {"--close-on-eof", "", For::all,
     "stop when the input has ended and has been sent (default: receive on)",
     [](Settings& s, View) { s.closes_at_eof = true; }},
    {"--max-message", "SIZE", For::all,
     "the link ends at a larger message, and none is sent (default: 1M)",
     [](Settings& s, View value) { s.websocket.max_message_bytes = to_bytes(value); }},
    {"--record", "FILE", For::peer,
     "record messages of both directions, with times, in this new file",
     [](Settings& s, View value) { s.record_file = value; }},
    {"--force", "", For::peer, "--record replaces a file that exists",
     [](Settings& s, View) { s.replaces_record = true; }},
    {"--speed", "N", For::recording, "play N times as fast; 0: without waiting (default: 1)",
     [](Settings& s, View value) { s.replay.emplace().speed = to_speed(value); }},
    {"--timeout", "SECONDS", For::peer,
     "how long connecting, or an attempt, may take; 0: any time (default: 10)",
     [](Settings& s, View value) { s.timeout = to_seconds(value); }},
    {"--reconnect", "", For::peer, "connect again when the link is lost or does not come up",
     [](Settings& s, View) {
         s.feed.reconnect = {.at_start = true, .on_disconnect = sidecar::OnDisconnect::keep};
     }},
    {"--ping-interval", "SECONDS", For::websocket,
     "ping after so long a silence, and end the link after as much more\n"
     "(default: 15; 0: never)",
     set_ping_interval, false, true},
    {header, "FIELD", For::websocket,
     "a further field of the request, 'Name: value'; @FILE: such lines", add_headers, true},
    {"--auth", "SECRET", For::websocket,
     "user:password; @FILE or env:NAME: it is in a file or in a variable,\n"
     "where other users do not see it",
     set_auth},
    {"--bearer", "TOKEN", For::websocket,
     "authorize with a token; @FILE and env:NAME as for --auth",
     [](Settings& s, View value) { s.websocket.bearer = to_secret(value); }, false, true},
    {"--subprotocol", "NAME", For::websocket,
     "offered, the preferred one first; several by commas or by repeating", add_subprotocols, true,
     true},
    {"--compress", "", For::websocket, "offer permessage-deflate (RFC 7692)",
     [](Settings& s, View) { s.websocket.compression.emplace(); }, false, true},
    {"--proxy", "URL", For::network,
     "the HTTP proxy, http://user:password@host:port; env: as HTTP_PROXY,\n"
     "HTTPS_PROXY and NO_PROXY say; @FILE: the URL is in a file",
     set_proxy},
    {"--ca", "PATH", For::tls,
     "trust the authorities in this PEM file or directory, not the system's", set_authorities},
    {"--cert", "FILE", For::tls, "our certificate, PEM",
     [](Settings& s, View path) { s.websocket.tls.certificate_file = path; }, false, true},
    {"--key", "FILE", For::tls, "its key, PEM (default: in the file of --cert)",
     [](Settings& s, View path) { s.websocket.tls.key_file = path; }, false, true},
    {"--insecure", "", For::tls, "accept any certificate; for tests only",
     [](Settings& s, View) { s.websocket.tls.insecure_skip_verification = true; }},
    {"--listen", "ADDRESS", For::all,
     "no URL: serve WebSockets here, [ADDRESS:]PORT (default: 127.0.0.1) or a URL's\n"
     "other forms, such as tcp://0.0.0.0:7000 or unix:/path",
     [](Settings& s, View address) { set_listen(s, address, false); }},
    {"--relay", "ADDRESS", For::all, "serve likewise: the clients get what the URL sends",
     [](Settings& s, View address) { set_listen(s, address, true); }},
    {"--origin", "ORIGIN", For::clients,
     "pages of this origin may connect, https://host; *: any page\n"
     "(default: those of the host that they ask for)",
     [](Settings& s, View origin) { s.listen.websocket.origins.emplace_back(origin); }, true},
    {"--stats", "", For::all, "counters and the stop's report on stderr at the end",
     [](Settings& s, View) { s.prints_stats = true; }},
    {"--quiet", "", For::all, "nothing on stderr but mistakes of usage",
     [](Settings& s, View) { s.is_quiet = true; }},
    {"--verbose", "", For::all, "each event of the link, and the library's log, on stderr",
     [](Settings& s, View) { s.is_verbose = true; }},
};

std::string help()
{
    std::string text{head};
    const auto line = [&](const std::string& name, View what) {
        text += fmt::format("  {:<26}", name);
        for (const char c : what)
            text += c == '\n' ? "\n" + std::string(28, ' ') : std::string{c};
        text += '\n';
    };
    for (const auto& option : options)
        line(fmt::format("{}{} {}", option.name == header ? "-H," : "", option.name, option.value),
             option.help);
    line("-h,--help", "this text");
    line("--version", "the version");
    return text.append(foot);
}

using Tcp = sidecar::Tcp<sidecar::Lines>;

/// Parses "host:port". Returns an empty host if it is something else.
std::pair<std::string, std::uint16_t> host_and_port(View authority)
{
    if (authority.ends_with('/'))
        authority.remove_suffix(1);
    const auto colon = std::min(authority.rfind(':'), authority.size());
    auto host = authority.substr(0, colon);
    const bool has_brackets = host.starts_with('[') && host.ends_with(']');
    if (has_brackets)
        host = host.substr(1, host.size() - 2);
    authority.remove_prefix(std::min(colon + 1, authority.size()));
    const auto port = to_number<std::uint16_t>(authority);
    if (!port || host.find_first_of(has_brackets ? "[]/?#@ " : "[]/?#@ :") != host.npos)
        return {};
    return {std::string{host}, *port};
}

std::string path_of(View path)
{
    if (path.starts_with("//")) // unix:///path is the same
        path.remove_prefix(2);
    if (path.size() < 2 || !(path.starts_with('/') || path.starts_with('@')))
        throw Mistake{"a Unix socket is written unix:/path, or unix:@name if it is abstract"};
    return std::string{path};
}

struct Scheme {
    View name;
    bool is_websocket, is_secure, is_local, is_recording = false, is_nats = false;
};
constexpr Scheme recording{"", false, false, true, true};
constexpr Scheme schemes[]{
    {"ws://", true, false, false},
    {"wss://", true, true, false},
    {"ws+unix:", true, false, true},
    {"wss+unix:", true, true, true},
    {"tcp://", false, false, false},
    {"tls://", false, true, false},
    {"unix:", false, false, true},
    {"nats://", false, false, false, false, true},
    {"nats+tls://", false, true, false, false, true},
};

/// A recording has no scheme, and is a file, or at least named like one.
bool is_recording(View name)
{
    std::error_code ignored;
    return name.ends_with(".sidecar")
           || (std::filesystem::exists(name, ignored)
               && !std::filesystem::is_directory(name, ignored));
}

/// Schemes are case-insensitive (RFC 3986 section 3.1). Null: it has none of ours.
const Scheme* find_scheme(View url)
{
    for (const auto& scheme : schemes)
        if (std::equal(scheme.name.begin(), scheme.name.end(), url.begin(),
                       url.begin() + std::min(url.size(), scheme.name.size()), [](char a, char b) {
                           return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
                       }))
            return &scheme;
    return nullptr;
}

const Scheme& scheme_of(View url)
{
    if (const auto* scheme = find_scheme(url))
        return *scheme;
    if (is_recording(url))
        return recording;
    throw Mistake{
        "the URL must begin with ws://, wss://, ws+unix:, wss+unix:, tcp://, tls://, unix:, "
        "nats:// or nats+tls://; a recording is a file"};
}

using Given = std::set<const Option*>;

/// Refuses an option without effect, because its user relies on it.
void check(const Settings& settings, const Given& given, const Scheme& scheme)
{
    const auto& tls = settings.websocket.tls;
    if (settings.is_quiet && settings.is_verbose)
        throw Mistake{"--quiet: not with --verbose"};
    if (tls.certificate_file.empty() && !tls.key_file.empty())
        throw Mistake{"--key: needs --cert"};
    if (settings.replaces_record && settings.record_file.empty())
        throw Mistake{"--force: needs --record"};
    for (const auto* option : given)
        if (const auto* why =
                option->urls == For::clients && settings.listen.address.empty()
                    ? "only with --listen and --relay"
                : settings.listen.is_server() && option->urls != For::all
                        && option->urls != For::clients && !option->serves
                    ? "not with --listen"
                : option->urls == For::recording && !scheme.is_recording ? "only for a recording"
                : scheme.is_recording && option->urls != For::all && option->urls != For::recording
                        && option->urls != For::clients
                    ? "not for a recording"
                : option->urls == For::websocket && !scheme.is_websocket
                    ? "only for WebSocket (ws://, wss://, ws+unix:)"
                : option->urls == For::tls && !scheme.is_secure   ? "only for TLS (wss://, tls://)"
                : option->urls == For::network && scheme.is_local ? "not for a Unix socket"
                                                                  : nullptr)
            throw Mistake{fmt::format("{}: {}", option->name, why)};
}

/// Plays all connections of the recording. Its gaps are those that were recorded, so the link adds
/// none.
void play_all(Settings& settings)
{
    if (!settings.replay)
        settings.replay.emplace();
    settings.replay->file = settings.url;
    settings.replay->max_message_bytes = settings.websocket.max_message_bytes;
    settings.timeout = sidecar::Duration::max();
    constexpr sidecar::Duration at_once{1};
    settings.feed.reconnect = {.window = at_once,
                               .max_window = at_once,
                               .busy_delay = {},
                               .connect_timeout = settings.timeout,
                               .at_start = true};
}

/// Sets the options of the listener. --listen gives it those that would be the link's.
void set_listener(Settings& settings, Listen& listen)
{
    const auto& link = settings.websocket;
    const auto* scheme = find_scheme(listen.address);
    if (scheme && scheme->is_nats)
        throw Mistake{fmt::format("{}: not for NATS", listen.is_relay ? "--relay" : "--listen")};
    const auto rest = View{listen.address}.substr(scheme ? scheme->name.size() : 0);
    const bool is_websocket = !scheme || scheme->is_websocket;
    const bool is_secure = scheme && scheme->is_secure;
    if (is_secure && listen.is_relay)
        throw Mistake{"--relay: not over TLS"};
    if (is_secure && link.tls.certificate_file.empty())
        throw Mistake{"--listen: TLS needs --cert"};
    if (!is_websocket && !listen.websocket.origins.empty())
        throw Mistake{"--origin: only for WebSocket"};
    const auto set = [&](auto& server) {
        if (scheme && scheme->is_local) {
            server.unix_path = path_of(rest);
        } else {
            const bool has_address = rest.find(':') != rest.npos;
            std::tie(server.address, server.port) =
                host_and_port(has_address ? std::string{rest} : fmt::format("127.0.0.1:{}", rest));
            if (server.address.empty())
                throw Mistake{
                    fmt::format("{}: it must be [ADDRESS:]PORT, an IPv6 address in brackets",
                                listen.is_relay ? "--relay" : "--listen")};
        }
        server.max_message_bytes = link.max_message_bytes;
        server.outbox.bytes = std::size_t{16} << 20; // lines of a file come faster than they go
        if (is_secure)
            server.tls = sidecar::TlsServerOptions{
                .certificates = {{.certificate_file = link.tls.certificate_file,
                                  .key_file = link.tls.key_file}}};
    };
    if (!is_websocket)
        return set(listen.tcp.emplace());
    set(listen.websocket);
    if (listen.is_relay)
        return;
    listen.websocket.subprotocols = link.subprotocols;
    listen.websocket.compression = link.compression;
    if (!link.bearer.empty())
        listen.websocket.on_request = sidecar::require_bearer(link.bearer);
}

/// Subscribes to the subject behind the host, and publishes to it unless it has wildcards.
void set_nats(Settings& settings, const Scheme& scheme)
{
    if (!settings.record_file.empty())
        throw Mistake{"--record: not for NATS"};
    const auto rest = View{settings.url}.substr(scheme.name.size());
    const auto slash = rest.find('/');
    const auto subject = rest.substr(std::min(slash, rest.size() - 1) + 1);
    if (slash == rest.npos || subject.empty())
        throw Mistake{"the URL names no subject; it is written nats://host/subject"};
    auto& nats = settings.nats.emplace();
    nats.url = fmt::format("{}://{}", scheme.is_secure ? "tls" : "nats", rest.substr(0, slash));
    nats.subscriptions = {{std::string{subject}}};
    if (subject.find_first_of("*>") == subject.npos)
        nats.subject = subject;
    nats.name = "sidecar-cat";
    nats.echo = false;
    nats.max_message_bytes = settings.websocket.max_message_bytes;
    nats.proxy = settings.websocket.proxy;
    nats.tls = settings.websocket.tls;
}

/// Sets the fields that depend on several server.
void complete(Settings& settings, const Scheme& scheme)
{
    auto& websocket = settings.websocket;
    if (scheme.is_recording)
        play_all(settings);
    if (settings.timeout == sidecar::Duration{})
        settings.timeout = sidecar::Duration::max();
    if (auto& reconnect = settings.feed.reconnect)
        reconnect->connect_timeout = settings.timeout;
    if (websocket.tls.key_file.empty())
        websocket.tls.key_file = websocket.tls.certificate_file;
    const bool is_plain = // lines are text mostly
        scheme.is_nats || (!scheme.is_websocket && !scheme.is_recording && !settings.is_json);
    settings.output_binary =
        settings.input_binary.value_or(is_plain ? BinaryFormat::raw : BinaryFormat::hex);
    if (settings.input_binary == BinaryFormat::base64) // is for output only
        settings.input_binary.reset();
    if (!settings.listen.address.empty())
        set_listener(settings, settings.listen);
    websocket.url = settings.url;
    if (settings.url.empty() || scheme.is_websocket || scheme.is_recording)
        return;
    if (scheme.is_nats)
        return set_nats(settings, scheme);
    auto& tcp = settings.tcp.emplace();
    tcp.max_message_bytes = websocket.max_message_bytes;
    tcp.proxy = websocket.proxy;
    if (scheme.is_secure)
        tcp.tls = websocket.tls;
    const auto rest = View{settings.url}.substr(scheme.name.size());
    if (scheme.is_local) {
        tcp.host = fmt::format("unix:{}", path_of(rest));
        return;
    }
    std::tie(tcp.host, tcp.port) = host_and_port(rest);
    if (tcp.host.empty() || tcp.port == 0)
        throw Mistake{"the URL is not written tcp://host:port or tls://host:port, an IPv6 address "
                      "in brackets"};
}

/// Takes the option at `at`, and its value if that is a separate argument.
void take_option(const std::vector<std::string>& arguments, std::size_t& at, Settings& settings,
                 Given& given)
{
    const View argument = arguments[at];
    const auto equals = argument.find('=');
    const auto name = argument == "-H" ? header : argument.substr(0, equals);
    const auto* option = std::find_if(std::begin(options), std::end(options),
                                      [&](const auto& one) { return one.name == name; });
    if (option == std::end(options)) { // a secret may follow the letters
        const auto end = std::find_if(argument.begin(), argument.end(), [](unsigned char c) {
            return c != '-' && (c >= 0x80 || std::isalnum(c) == 0);
        });
        throw Mistake{fmt::format("there is no option {}", View{argument.begin(), end})};
    }
    if (!given.insert(option).second && !option->is_list)
        throw Mistake{fmt::format("{}: it is given more than once", name)};
    View value;
    if (option->value.empty() && equals != argument.npos)
        throw Mistake{fmt::format("{} takes no value", name)};
    if (!option->value.empty()) {
        if (equals == argument.npos && ++at == arguments.size())
            throw Mistake{fmt::format("{}: its value is missing", name)};
        value = equals == argument.npos ? View{arguments[at]} : argument.substr(equals + 1);
        if (value.empty()) // mostly a shell variable that is not set
            throw Mistake{fmt::format("{}: it is empty", name)};
    }
    try {
        option->set(settings, value);
    } catch (const Mistake& mistake) {
        throw Mistake{fmt::format("{}: {}", name, mistake.why)};
    }
}

/// Returns the URL that is given, or that of HOST PORT.
std::string url_of(const std::vector<View>& places)
{
    if (places.empty() || places[0].empty())
        throw Mistake{"the URL is missing"};
    if (places.size() == 1)
        return std::string{places[0]};
    const auto host = places[0], port = places[1];
    if (places.size() > 2 || host.find('/') != host.npos
        || port.find_first_not_of("0123456789") != port.npos)
        throw Mistake{"more than one URL"};
    const bool is_ipv6 = host.find(':') != host.npos && !host.starts_with('[');
    return is_ipv6 ? fmt::format("tcp://[{}]:{}", host, port)
                   : fmt::format("tcp://{}:{}", host, port);
}

std::variant<Settings, EarlyExit> parse(const std::vector<std::string>& arguments)
{
    Settings settings;
    Given given;
    std::vector<View> places;
    bool has_options = true;
    for (std::size_t at = 0; at < arguments.size(); ++at) {
        const auto& argument = arguments[at];
        if (has_options && argument == "--")
            has_options = false;
        else if (has_options && (argument == "--help" || argument == "-h"))
            return EarlyExit{exit_status::clean, help()};
        else if (has_options && argument == "--version")
            return EarlyExit{exit_status::clean, "sidecar-cat " SIDECAR_CAT_VERSION "\n"};
        else if (has_options && argument.size() > 1 && argument.starts_with('-'))
            take_option(arguments, at, settings, given);
        else
            places.emplace_back(argument);
    }
    const bool is_server = settings.listen.is_server();
    if (is_server && !places.empty())
        throw Mistake{"--listen: not with a URL; --relay passes a feed on"};
    if (!is_server)
        settings.url = url_of(places);
    const auto* listens = is_server ? find_scheme(settings.listen.address) : nullptr;
    const auto& scheme = listens ? *listens : is_server ? schemes[0] : scheme_of(settings.url);
    check(settings, given, scheme);
    complete(settings, scheme);
    return settings;
}

} // namespace

std::variant<Settings, EarlyExit> parse_command_line(const std::vector<std::string>& arguments)
{
    constexpr auto form = "sidecar-cat: {}\nTry 'sidecar-cat --help'.\n";
    try {
        return parse(arguments);
    } catch (const Mistake& mistake) {
        return EarlyExit{exit_status::usage, fmt::format(form, mistake.why)};
    }
}

} // namespace sidecar_cat
