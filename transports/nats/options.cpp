#include "options.hpp"

#include "jetstream.hpp"
#include "subjects.hpp"
#include "text.hpp"
#include "tls/tls.hpp"
#include "uri.hpp"

#include <fmt/format.h>

#include <utility>

namespace sidecar::nats {

namespace {

constexpr std::uint16_t usual_port = 4222;

Failure bad_url(std::string why) { return http::refuse(Error::bad_address, std::move(why)); }
Failure bad(std::string why) { return http::refuse(Error::bad_options, std::move(why)); }

Result<void> add_url(Urls& urls, std::string_view text)
{
    const auto url = http::split(text);
    const auto scheme = http::lower(url.scheme);
    if (scheme != "nats" && scheme != "tls")
        return bad_url("a URL begins with nats:// or tls://, and this one does not");
    if (url.query || url.fragment)
        return bad_url("a query or a fragment has no place in it");
    const auto host = http::parse_host(url.host);
    if (!host)
        return host.error();
    auto port = std::optional{usual_port};
    if (url.port && !url.port->empty())
        port = http::parse_port(*url.port);
    if (!port)
        return bad_url("the port is not a number between 1 and 65535");
    if (urls.addresses.empty())
        urls.host = host->name;
    const char* const form = host->name.find(':') == host->name.npos ? "{}:{}" : "[{}]:{}";
    urls.addresses.push_back(fmt::format(fmt::runtime(form), host->name, *port));
    urls.is_secure |= scheme == "tls";
    if (url.user_info) {
        Credentials credentials;
        auto rest = *url.user_info;
        auto& first = rest.find(':') == rest.npos ? credentials.token : credentials.user;
        first = http::percent_decoded(http::cut(rest, ":"));
        if (!rest.empty())
            credentials.password = http::percent_decoded(rest.substr(1));
        const auto& known = urls.credentials;
        if (urls.has_login()
            && (known.user != credentials.user || known.password != credentials.password
                || known.token != credentials.token))
            return bad_url("the user information of the URLs differs");
        urls.credentials = std::move(credentials);
    }
    if (url.path.size() > 1) {
        auto subject = http::percent_decoded(url.path.substr(1));
        if (!urls.subject.empty() && urls.subject != subject)
            return bad_url("the subjects of the URLs differ");
        urls.subject = std::move(subject);
    }
    return {};
}

/// Whether messages without a topic have a subject. The options are valid, so a subject is what
/// follows the slash after the host. Each send asks: it only looks.
bool has_subject(const Nats::Options& options) noexcept
{
    if (!options.subject.empty())
        return true;
    const std::string_view urls = options.url;
    for (auto host = urls.find("://"); host != urls.npos; host = urls.find("://", host)) {
        host += 3;
        const auto end = urls.find_first_of("/,", host);
        if (end != urls.npos && end + 1 < urls.size() && urls[end] == '/' && urls[end + 1] != ',')
            return true;
    }
    return false;
}

/// Returns the host of "host:port", without brackets.
std::string host_of(std::string_view address)
{
    auto host = address.substr(0, address.rfind(':'));
    if (host.starts_with('[') && host.ends_with(']'))
        host = host.substr(1, host.size() - 2);
    return std::string{host};
}

/// Returns what the text is for, the text and its fault, if it has one; else an empty text.
std::string describe(const char* what, std::string_view text, const char* fault)
{
    return fault ? fmt::format("{} {}: {}", what, http::quote_name(text), fault) : std::string{};
}

std::string fault_of_names(const Nats::Options& options, const Urls& urls)
{
    if (!options.subject.empty() && !urls.subject.empty())
        return "the option subject and a subject in the URL exclude each other";
    using enum SubjectUse;
    const auto subject = subject_of(options, urls);
    std::string why;
    if (!subject.empty())
        why = describe("the subject", subject, fault_of_subject(subject, publish));
    if (why.empty())
        why = describe("inbox_prefix", options.inbox_prefix,
                       fault_of_subject(options.inbox_prefix, publish));
    for (const auto& [topic, queue] : options.subscriptions) {
        if (why.empty())
            why = describe("the subscription", topic, fault_of_subject(topic, subscribe));
        if (why.empty())
            why = describe("the queue", queue, fault_of_queue(queue));
    }
    return why;
}

std::string fault_of_send(const Nats::Options& options, const MessageView& message)
{
    using enum SubjectUse;
    const auto topic = message.topic(), reply_to = message.reply_to();
    std::string why;
    if (!topic.empty()) {
        why = describe("the topic", topic, fault_of_subject(topic, publish));
    } else if (const auto command = parse_command(message.bytes())) {
        why = describe("the subscription", command->subject,
                       fault_of_subject(command->subject, subscribe));
        if (why.empty())
            why = describe("the queue", command->queue, fault_of_queue(command->queue));
    } else if (!has_subject(options)) {
        why = "it has no topic, and the option subject is empty";
    }
    if (why.empty() && !reply_to.empty())
        why = describe("reply_to", reply_to, fault_of_subject(reply_to, publish));
    for (const auto header : message.headers())
        if (why.empty())
            why = describe("the header", header.name, fault_of_header(header));
    return why;
}

} // namespace

Result<Urls> parse_urls(std::string_view text)
{
    Urls urls;
    for (auto rest = text;;) {
        if (auto added = add_url(urls, http::cut(rest, ",")); !added)
            return added.error().with_attempt("read the URL", http::redact_text(text));
        if (rest.empty())
            return urls;
        rest.remove_prefix(1);
    }
}

Credentials credentials_of(const Nats::Options& options, const Urls& urls)
{
    if (urls.has_login())
        return urls.credentials;
    return {.user = options.user,
            .password = options.password,
            .token = options.token,
            .nkey_seed = options.nkey_seed,
            .credentials_file = options.credentials_file};
}

std::string_view subject_of(const Nats::Options& options, const Urls& urls) noexcept
{
    return options.subject.empty() ? urls.subject : options.subject;
}

stream::Target target_of(const Nats::Options& options, const Urls& urls, const std::string& address)
{
    const auto port = std::string_view{address}.substr(address.rfind(':') + 1);
    stream::Target target{.host = host_of(address),
                          .port = http::parse_port(port).value_or(usual_port),
                          .socket = {.no_delay = options.no_delay,
                                     .tcp_keepalive = options.tcp_keepalive,
                                     .options = options.socket},
                          .proxy = options.proxy,
                          .without_tls = "does the server do TLS first? See the option tls_first",
                          .endpoint = fmt::format("{}://{}", urls.is_secure ? "tls" : "nats",
                                                  http::escape(address, 300)),
                          .faults = options.faults,
                          .faults_from_environment = options.faults_from_environment};
    if (options.tls_first)
        target.tls = options.tls;
    return target;
}

bool has_name(std::string_view address) { return http::address_bytes(host_of(address)).empty(); }

std::string connect_line(const Nats::Options& options, const Urls& urls, const ServerInfo& info)
{
    auto line = fmt::format( // protocol 1: further INFO may come at any time
        R"(CONNECT {{"verbose":false,"pedantic":false,"protocol":1,"lang":"C++ Sidecar",)"
        R"("tls_required":{},"echo":{},"headers":{},"no_responders":{},"name":)",
        urls.is_secure || options.tls_first, options.echo, info.has_headers, info.has_headers);
    append_json(line, options.name);
    for (const auto& [name, value] :
         connect_fields(credentials_of(options, urls), info.nonce).value()) {
        line += fmt::format(",\"{}\":", name);
        append_json(line, value);
    }
    return line.append("}\r\n");
}

Result<void> validate(const Nats::Options& options)
{
    const auto urls = parse_urls(options.url);
    if (!urls)
        return urls.error();
    Result<void> valid;
    if (auto why = fault_of_names(options, *urls); !why.empty())
        valid = bad(std::move(why));
    else if (urls->has_login()
             && !(options.user.empty() && options.password.empty() && options.token.empty()
                  && options.nkey_seed.empty() && options.credentials_file.empty()))
        valid = bad("user information in the URL and the options to log in exclude each other");
    else if (options.max_message_bytes == 0)
        valid = bad("the message limit is 0 bytes");
    else if (options.consumer)
        valid = validate(*options.consumer);
    if (valid)
        valid = validate(credentials_of(options, *urls));
    if (!valid)
        return valid.error().with_attempt("connect", Nats::endpoint(options));
    for (const auto& address : urls->addresses) {
        auto target = target_of(options, *urls, address);
        if (urls->is_secure || options.tls != TlsOptions{})
            target.tls = options.tls;
        if (auto usable = stream::validate(target); !usable)
            return usable;
    }
    return {};
}

Result<void> validate_send(const Nats::Options& options, const MessageView& message)
{
    auto why = fault_of_send(options, message);
    if (why.empty())
        return {};
    return Failure{
        Error::bad_message,
        {.attempted = "send", .endpoint = Nats::endpoint(options), .explanation = std::move(why)}};
}

} // namespace sidecar::nats
