#include "command_line.hpp"

#include "exit_status.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sidecar_cat {
namespace {

constexpr const char* description =
    "Prints what a network feed sends, a message a line, and sends what stands on standard input.";

constexpr const char* footer = R"(URL:
  ws://host:port/path  wss://...           WebSocket, in the clear or over TLS
  ws+unix:/path:/resource                  WebSocket over a Unix socket
  tcp://host:port  tls://host:port         messages in a stream of bytes, see --framing
  unix:/path                               the same over a Unix socket

Exit status:
  0 clean   1 could not connect   2 usage   3 link lost   4 stopped uncleanly

Examples:
  sidecar-cat wss://example.org/feed
      prints the feed; lines that are typed are sent; Ctrl-C stops
  echo '{"op":"subscribe"}' | sidecar-cat --count 10 --json wss://example.org/feed
      subscribes, prints ten messages as JSON lines, and stops
  sidecar-cat --auth @token.txt --header 'X-Team: blue' wss://example.org/private
      authorizes with what the file holds ("bearer:..." or "user:password")
  sidecar-cat --framing length4 --binary hex --duration 60 tcp://localhost:9000
      prints a minute of binary messages in hex
  sidecar-cat --echo --heartbeat 10 --stats ws+unix:/run/feed.sock:/echo
      sends back what it receives; tells the counters at the end)";

/// The options as they are written. Only the command line's own; converted into Settings at once.
struct Given {
    std::string url, count, duration, timeout, heartbeat, linger, max_message, framing, binary;
    std::string ca, certificate, key, proxy, origin, authorization, max_redirects;
    std::vector<std::string> headers, subprotocols;
    bool is_echo = false, is_json = false, is_quiet = false, is_insecure = false;
    bool no_stdin = false, close_on_eof = false, has_timestamps = false, stats = false;
    bool dump = false, compress = false, reconnect = false;
};

void add_message_options(CLI::App& app, Given& given)
{
    const std::string group = "Messages";
    app.add_option("--binary", given.binary,
                   "hex, base64 or raw: binary messages are printed so, and lines are sent as "
                   "binary messages that are written so (default: WebSocket's are printed in hex, "
                   "others raw; lines are sent as text)")
        ->type_name("FORMAT")
        ->group(group);
    app.add_option("--framing", given.framing,
                   "lines, raw, length1, length2, length4, length8 or fixed:N: how messages stand "
                   "in the stream of tcp:, tls: and unix: (default: lines)")
        ->type_name("FRAMING")
        ->group(group);
    app.add_option("--max-message", given.max_message,
                   "larger messages end the link, and from the input none is sent (default: 1M)")
        ->type_name("SIZE")
        ->group(group);
    app.add_flag("--echo", given.is_echo, "send back what is received, and read no input")
        ->group(group);
    app.add_flag("--no-stdin", given.no_stdin, "read no input")->group(group);
    app.add_flag("--close-on-eof", given.close_on_eof,
                 "stop when the input has ended and has been sent (default: receive on)")
        ->group(group);
    app.add_option("--linger", given.linger,
                   "with --close-on-eof: wait so long for answers before the stop (default: 0)")
        ->type_name("SECONDS")
        ->group(group);
    app.add_option("--count", given.count, "stop after N messages")->type_name("N")->group(group);
    app.add_option("--duration", given.duration, "stop so long after the link came up")
        ->type_name("SECONDS")
        ->group(group);
}

void add_output_options(CLI::App& app, Given& given)
{
    const std::string group = "Output";
    app.add_flag("--json", given.is_json, "events, messages and report as JSON lines")
        ->group(group);
    app.add_flag("--timestamps", given.has_timestamps, "the time (UTC) before each message")
        ->group(group);
    app.add_flag("--stats", given.stats, "counters and the stop's report on stderr at the end")
        ->group(group);
    app.add_flag("--quiet", given.is_quiet, "nothing on stderr but mistakes of usage")
        ->group(group);
    app.add_flag("--dump", given.dump, "on SIGUSR1 print on stderr what everybody is waiting for")
        ->group(group);
}

void add_connection_options(CLI::App& app, Given& given)
{
    const std::string group = "Connection";
    app.add_option("--timeout", given.timeout,
                   "how long connecting may take; 0: any time (default: 10)")
        ->type_name("SECONDS")
        ->group(group);
    app.add_option("--heartbeat", given.heartbeat,
                   "WebSocket: ping after so long a silence, and end the link after as much more "
                   "(default: 0, never)")
        ->type_name("SECONDS")
        ->group(group);
    app.add_flag("--reconnect", given.reconnect, "connect again when the link is lost")
        ->group(group);
    app.add_option("--proxy", given.proxy,
                   "the HTTP proxy, http://user:password@host:port; env: as HTTP_PROXY, "
                   "HTTPS_PROXY and NO_PROXY say; @FILE: the URL stands in a file")
        ->type_name("URL")
        ->group(group);
    app.add_option("--ca", given.ca,
                   "TLS: trust the authorities in this PEM file or directory, not the system's")
        ->type_name("PATH")
        ->group(group);
    app.add_option("--cert", given.certificate, "TLS: our certificate, a PEM file")
        ->type_name("FILE")
        ->group(group);
    app.add_option("--key", given.key, "TLS: its key, a PEM file (default: in --cert's)")
        ->type_name("FILE")
        ->group(group);
    app.add_flag("--insecure", given.is_insecure,
                 "TLS: take any certificate of anybody; for tests only")
        ->group(group);
}

void add_handshake_options(CLI::App& app, Given& given)
{
    const std::string group = "WebSocket";
    app.add_option("--header", given.headers,
                   "a further field of the request, 'Name: value'; @FILE: such lines from a file")
        ->type_name("FIELD")
        ->allow_extra_args(false)
        ->group(group);
    app.add_option("--subprotocol", given.subprotocols,
                   "offered; the preferred one first, several by commas or by repeating")
        ->type_name("NAME")
        ->allow_extra_args(false)
        ->group(group);
    app.add_option("--origin", given.origin, "what Origin is to say")
        ->type_name("ORIGIN")
        ->group(group);
    app.add_option("--auth", given.authorization,
                   "user:password or bearer:TOKEN; @FILE or env:NAME: one of them from a file or "
                   "from the environment, where other users do not see it")
        ->type_name("SECRET")
        ->group(group);
    app.add_option("--max-redirects", given.max_redirects,
                   "follow so many redirects to the same or a more secure scheme (default: 0)")
        ->type_name("N")
        ->group(group);
    app.add_flag("--compress", given.compress, "offer permessage-deflate (RFC 7692)")->group(group);
}

/// Collects the first mistake while values are taken over.
class Conversion {
public:
    /// Takes over `text`, if the option was given.
    template <class T, class Value>
    void take(const char* option, const std::string& text, T& to,
              Parsed<Value> (*parse)(std::string_view))
    {
        if (text.empty() && !is_given(option))
            return;
        keep(option, parse(text), to);
    }
    template <class T, class Value>
    void keep(const char* option, Parsed<Value> value, T& to)
    {
        if (value)
            to = std::move(*value);
        else
            fail(fmt::format("{}: {}", option, value.error().why()));
    }
    void fail(std::string why)
    {
        if (why_.empty())
            why_ = std::move(why);
    }
    [[nodiscard]] bool is_given(const char* option) const { return app_.count(option) != 0; }
    [[nodiscard]] const std::string& why() const { return why_; }
    explicit Conversion(const CLI::App& app) : app_{app} {}

private:
    const CLI::App& app_;
    std::string why_; // empty: no mistake yet
};

void convert_connection(Conversion& to, const Given& given, ConnectionSettings& connection,
                        const SecretSources& sources)
{
    to.keep("URL", parse_target(given.url), connection.target);
    to.take("--framing", given.framing, connection.framing, parse_framing);
    to.take("--max-message", given.max_message, connection.max_message_bytes, parse_size);
    to.take("--timeout", given.timeout, connection.timeout, parse_seconds);
    if (connection.timeout == sidecar::Duration{})
        connection.timeout = sidecar::Duration::max();
    to.take("--heartbeat", given.heartbeat, connection.heartbeat, parse_seconds);
    connection.reconnects = given.reconnect;
    connection.tls = {given.ca, given.certificate, given.key, given.is_insecure};
    if (connection.tls.key.empty())
        connection.tls.key = given.certificate;
    if (to.is_given("--proxy"))
        to.keep("--proxy", parse_proxy(given.proxy, sources), connection.proxy);
}

void convert_handshake(Conversion& to, const Given& given, HandshakeSettings& handshake,
                       const SecretSources& sources)
{
    for (const auto& header : given.headers) {
        std::vector<HeaderField> fields;
        to.keep("--header", parse_header(header, sources), fields);
        std::move(fields.begin(), fields.end(), std::back_inserter(handshake.headers));
    }
    for (const auto& names : given.subprotocols)
        to.keep("--subprotocol", append_names(std::move(handshake.subprotocols), names),
                handshake.subprotocols);
    handshake.origin = given.origin;
    if (to.is_given("--auth"))
        to.keep("--auth", parse_credentials(given.authorization, sources), handshake.credentials);
    to.take("--max-redirects", given.max_redirects, handshake.max_redirects, parse_redirects);
    handshake.is_compressed = given.compress;
}

void convert_rest(Conversion& to, const Given& given, Settings& settings)
{
    to.take("--count", given.count, settings.count, parse_count);
    to.take("--duration", given.duration, settings.duration, parse_seconds);
    to.take("--linger", given.linger, settings.input.linger, parse_seconds);
    to.take("--binary", given.binary, settings.input.binary, parse_binary);
    settings.input.is_read = !given.no_stdin && !given.is_echo;
    settings.input.echoes = given.is_echo;
    settings.input.closes_at_eof = given.close_on_eof;
    const bool is_websocket = settings.connection.target.kind == Target::Kind::websocket;
    auto& output = settings.output;
    const auto by_default = is_websocket || given.is_json ? BinaryFormat::hex : BinaryFormat::raw;
    output.binary = settings.input.binary.value_or(by_default);
    output.is_raw = settings.connection.framing.kind == FramingChoice::Kind::raw;
    output.is_json = given.is_json;
    output.has_timestamps = given.has_timestamps;
    output.tells_stats = given.stats;
    output.is_quiet = given.is_quiet;
    settings.dumps = given.dump;
}

/// Options that would be without effect are mistakes: whoever gave them believes in them.
void check_together(Conversion& to, const Settings& settings)
{
    const auto& connection = settings.connection;
    const bool is_websocket = connection.target.kind == Target::Kind::websocket;
    for (const char* option : {"--header", "--subprotocol", "--origin", "--auth", "--max-redirects",
                               "--compress", "--heartbeat"})
        if (!is_websocket && to.is_given(option))
            to.fail(fmt::format("{}: only for WebSocket (ws://, wss://, ws+unix:)", option));
    const bool may_be_secure =
        connection.target.is_secure || connection.handshake.max_redirects != 0;
    for (const char* option : {"--ca", "--cert", "--key", "--insecure"})
        if (!may_be_secure && to.is_given(option))
            to.fail(fmt::format("{}: only for TLS (wss://, tls://, and ws:// with --max-redirects)",
                                option));
    if (is_websocket && to.is_given("--framing"))
        to.fail("--framing: only for tcp://, tls:// and unix:, for WebSocket has its own");
    if (to.is_given("--key") && !to.is_given("--cert"))
        to.fail("--key: needs --cert");
    if (connection.target.kind == Target::Kind::unix_socket && to.is_given("--proxy"))
        to.fail("--proxy: not for a Unix socket");
    if (connection.framing.kind == FramingChoice::Kind::fixed_size
        && connection.framing.size > connection.max_message_bytes)
        to.fail("--framing: its messages are larger than --max-message allows");
    if (to.is_given("--duration") && settings.duration == sidecar::Duration{})
        to.fail("--duration: it must be more than 0");
    if (to.is_given("--linger") && !settings.input.closes_at_eof)
        to.fail("--linger: needs --close-on-eof");
    if (settings.input.closes_at_eof && !settings.input.is_read)
        to.fail("--close-on-eof: there is no input with --no-stdin or --echo");
    if (connection.handshake.credentials
        && std::any_of(connection.handshake.headers.begin(), connection.handshake.headers.end(),
                       [](const HeaderField& field) { return is_authorization(field.first); }))
        to.fail("--auth: --header has an Authorization already");
}

EarlyExit usage(const std::string& why)
{
    return {exit_status::usage, fmt::format("sidecar-cat: {}\nTry 'sidecar-cat --help'.\n", why)};
}

/// What CLI11 found no use for; it counts a "--" among it.
std::vector<std::string> extras_of(const CLI::App& app)
{
    auto extras = app.remaining();
    std::erase(extras, "--");
    return extras;
}

/// The option's name at the beginning of an argument: what stands behind it may be a secret.
std::string option_name(std::string_view argument)
{
    constexpr std::string_view name_letters =
        "-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    return std::string{argument.substr(0, argument.find_first_not_of(name_letters))};
}

/// CLI11's own texts repeat arguments, and an argument too many may be a URL with a password.
std::string unexpected(const std::vector<std::string>& extras)
{
    for (const auto& extra : extras)
        if (extra.size() > 1 && extra.starts_with('-'))
            return fmt::format("there is no option {}", option_name(extra));
    return "more than one URL";
}

std::string describe(const CLI::ParseError& error)
{
    const std::string_view text = error.what();
    if (dynamic_cast<const CLI::ConversionError*>(&error)) // of a flag; it repeats the value
        return fmt::format("{} takes no value",
                           option_name(text.substr(std::min(text.find("--"), text.size()))));
    if (dynamic_cast<const CLI::ArgumentMismatch*>(&error))
        return fmt::format("{}: {}", option_name(text),
                           text.find("missing") != text.npos ? "its value is missing"
                                                             : "it stands there more than once");
    return std::string{text};
}

std::variant<Settings, EarlyExit> convert(const CLI::App& app, const Given& given,
                                          const SecretSources& sources)
{
    Settings settings;
    Conversion to{app};
    convert_connection(to, given, settings.connection, sources);
    convert_handshake(to, given, settings.connection.handshake, sources);
    convert_rest(to, given, settings);
    if (to.why().empty())
        check_together(to, settings);
    if (!to.why().empty())
        return usage(to.why());
    return settings;
}

} // namespace

std::variant<Settings, EarlyExit> parse_command_line(const std::vector<std::string>& arguments,
                                                     const SecretSources& sources)
{
    CLI::App app{description, "sidecar-cat"};
    Given given;
    app.footer(footer);
    app.set_version_flag("--version", "sidecar-cat " SIDECAR_CAT_VERSION);
    app.add_option("URL", given.url, "whom to connect to")->required();
    add_message_options(app, given);
    add_output_options(app, given);
    add_connection_options(app, given);
    add_handshake_options(app, given);
    app.allow_extras(); // told in our words
    try {
        app.parse(std::vector<std::string>{arguments.rbegin(), arguments.rend()});
    } catch (const CLI::CallForHelp&) {
        return EarlyExit{exit_status::clean, app.help()};
    } catch (const CLI::CallForVersion& version) {
        return EarlyExit{exit_status::clean, fmt::format("{}\n", version.what())};
    } catch (const CLI::RequiredError&) {
        const auto extras = extras_of(app);
        return usage(extras.empty() ? "the URL is missing" : unexpected(extras));
    } catch (const CLI::ParseError& error) {
        return usage(describe(error));
    }
    if (const auto extras = extras_of(app); !extras.empty())
        return usage(unexpected(extras));
    return convert(app, given, sources);
}

} // namespace sidecar_cat
