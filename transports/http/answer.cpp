#include "answer.hpp"

#include "uri.hpp"

#include <boost/asio/error.hpp>
#include <boost/beast/http/error.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <ctime>
#include <iomanip>
#include <locale>
#include <sstream>

namespace sidecar::http {
namespace {

namespace chrono = std::chrono;

constexpr std::size_t max_shown_rubbish_bytes = 64;
constexpr auto max_retry_after = chrono::seconds{chrono::hours{24} * 365};

/// The beginning of an answer; '#' is a digit. RFC 9112 section 4.
constexpr std::string_view start_pattern = "HTTP/1.# ###";

/// A longer method is none; garbage without a space ends here.
constexpr std::size_t max_method_bytes = 32;

bool is_space(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text)
{
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

/// RFC 9110 section 5.5.
bool is_bad_in_value(char c)
{
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

/// Returns the readable part of a body: of a chunked one the first chunk's content.
std::string_view readable_body(const HttpHead& head, std::string_view body)
{
    if (!contains(head.elements("Transfer-Encoding"), "chunked"))
        return body;
    std::size_t bytes = 0;
    (void)std::from_chars(body.data(), body.data() + body.size(), bytes, 16);
    const auto line = body.find('\n');
    return line == body.npos ? std::string_view{} : body.substr(line + 1).substr(0, bytes);
}

/// Guesses the protocol from the first bytes. Empty: unknown.
std::string guess(std::string_view bytes, std::string_view hint)
{
    const auto is_at = [&](std::size_t at, char c) { return bytes.size() > at && bytes[at] == c; };
    if ((is_at(0, '\x15') || is_at(0, '\x16')) && (bytes.size() == 1 || is_at(1, '\x03')))
        return fmt::format("; this is TLS: {}", hint);
    if (bytes.starts_with("SSH-"))
        return "; this is an SSH server";
    if (bytes.starts_with("HTTP/2")
        || (is_at(0, '\0') && is_at(1, '\0') && (is_at(3, '\x04') || is_at(3, '\x07'))))
        return "; this is HTTP/2";
    return {};
}

/// Describes an answer that is not HTTP/1.x: `it begins with "SSH-2.0"; this is an SSH server`.
std::string describe_not_http(std::string bytes, const Secrets& secrets, std::string_view hint)
{
    return fmt::format("it begins with {}{}", quote(secrets.redact(bytes), max_shown_rubbish_bytes),
                       guess(bytes, hint));
}

/// Completes a year of two digits. RFC 9110 section 5.6.7: more than 50 years ahead means the past.
int full_year(int two_digits, chrono::sys_seconds now)
{
    const chrono::year_month_day today{chrono::floor<chrono::days>(now)};
    const auto this_year = static_cast<int>(today.year());
    const auto year = this_year / 100 * 100 + two_digits;
    return year > this_year + 50 ? year - 100 : year;
}

} // namespace

bool contains(const std::vector<std::string_view>& elements, std::string_view name)
{
    return std::any_of(elements.begin(), elements.end(),
                       [&](std::string_view e) { return equal_ignoring_case(e, name); });
}

std::vector<std::string_view> HttpHead::values(std::string_view name) const
{
    std::vector<std::string_view> result;
    for (const auto& [field, value] : fields)
        if (equal_ignoring_case(field, name))
            result.emplace_back(value);
    return result;
}

std::string_view HttpHead::first_value(std::string_view name) const
{
    const auto all = values(name);
    return all.empty() ? std::string_view{} : all.front();
}

std::vector<std::string_view> HttpHead::elements(std::string_view name) const
{
    std::vector<std::string_view> result;
    for (auto rest : values(name)) {
        while (!rest.empty()) {
            const auto comma = std::min(rest.find(','), rest.size());
            if (const auto element = trim(rest.substr(0, comma)); !element.empty())
                result.push_back(element);
            rest.remove_prefix(std::min(comma + 1, rest.size()));
        }
    }
    return result;
}

std::size_t HeadReader::take(std::string_view bytes)
{
    const auto all = bytes.size();
    while (state_ == State::incomplete && !bytes.empty()) {
        const auto taken = is_at_start() ? take_start(bytes) : take_line(bytes);
        head_bytes_ += taken;
        bytes.remove_prefix(taken);
        if (state_ == State::complete && kind_ == Kind::answer)
            skip_interim();
    }
    return all - bytes.size();
}

bool HeadReader::is_at_start() const noexcept
{
    return line_at_ == 0
           && (kind_ == Kind::request ? text_.find(' ') == npos
                                      : text_.size() <= start_pattern.size());
}

/// Whether the byte may be the next one, at the start.
bool HeadReader::may_begin(char c) const noexcept
{
    const auto at = text_.size();
    if (kind_ == Kind::request)
        return at == 0 ? is_token_char(c) || c == '\r' || c == '\n'
                       : at <= max_method_bytes && (is_token_char(c) || c == ' ');
    return at == start_pattern.size() ? c == ' ' || c == '\r' || c == '\n'
           : start_pattern[at] == '#' ? is_digit(c)
                                      : c == start_pattern[at];
}

/// Takes one byte; refuses at once a byte that no head can begin with.
std::size_t HeadReader::take_start(std::string_view bytes)
{
    const char c = bytes.front();
    if (!may_begin(c)) {
        state_ = State::not_http;
        return 0;
    }
    const bool is_empty_line = kind_ == Kind::request && (c == '\r' || c == '\n');
    if (!is_empty_line || head_bytes_ == max_bytes_)
        return take_line(bytes.substr(0, 1));
    return 1;
}

/// Takes the bytes up to the end of the line, or all.
std::size_t HeadReader::take_line(std::string_view bytes)
{
    const auto end = bytes.find('\n');
    const auto taken = end == bytes.npos ? bytes.size() : end + 1;
    if (head_bytes_ + taken > max_bytes_) {
        state_ = State::too_large;
        return 0;
    }
    text_ += bytes.substr(0, end);
    if (end != bytes.npos)
        end_line();
    return taken;
}

/// Ends a line at a lone line feed too, RFC 9112 section 2.2.
void HeadReader::end_line()
{
    if (text_.size() > line_at_ && text_.back() == '\r')
        text_.pop_back();
    if (text_.size() == line_at_)
        state_ = State::complete;
    text_ += "\r\n";
    line_at_ = text_.size();
}

HttpHead HeadReader::status_line() const
{
    HttpHead head;
    if (text_.size() < start_pattern.size())
        return head;
    head.minor_version = static_cast<unsigned>(text_[7] - '0');
    for (const char digit : text_.substr(9, 3))
        head.status = head.status * 10 + static_cast<unsigned>(digit - '0');
    const auto end = std::min(text_.find("\r\n"), text_.size());
    head.reason = trim(std::string_view{text_}.substr(0, end).substr(start_pattern.size()));
    return head;
}

/// Parses the first line of a request, RFC 9112 section 3.
HttpHead HeadReader::request_line() const
{
    HttpHead head;
    auto rest = std::string_view{text_}.substr(0, text_.find("\r\n"));
    const auto method = cut(rest, " ");
    rest.remove_prefix(std::min<std::size_t>(1, rest.size()));
    const auto target = cut(rest, " ");
    constexpr std::string_view version = " HTTP/";
    const bool is_line = rest.starts_with(version) && rest.size() == version.size() + 3
                         && is_digit(rest[6]) && rest[7] == '.' && is_digit(rest[8])
                         && !target.empty()
                         && std::all_of(target.begin(), target.end(), is_visible);
    if (!is_line) {
        head.fault = boost::beast::http::error::bad_target;
        return head;
    }
    head.method = method;
    head.target = target;
    head.major_version = static_cast<unsigned>(rest[6] - '0');
    head.minor_version = static_cast<unsigned>(rest[8] - '0');
    return head;
}

HttpHead HeadReader::parse() const
{
    using boost::beast::http::error;
    auto head = kind_ == Kind::request ? request_line() : status_line();
    if (head.fault)
        return head;
    const auto unreadable = [&](error why) {
        auto result = head;
        result.fields.clear();
        result.fault = why;
        return result;
    };
    auto rest = std::string_view{text_};
    const auto next_line = [&] {
        const auto line = rest.substr(0, rest.find("\r\n"));
        rest.remove_prefix(line.size() + 2);
        return line;
    };
    constexpr std::string_view bad_in_reason{"\r\0", 2}; // RFC 9112 sections 2.2 and 4
    if (next_line().find_first_of(bad_in_reason) != std::string_view::npos)
        return unreadable(error::bad_reason);
    for (auto line = next_line(); !line.empty(); line = next_line()) {
        if (is_space(line.front())) { // continues the field before, RFC 9112 section 5.2
            if (head.fields.empty())
                return unreadable(error::bad_field);
            head.fields.back().second.append(" ").append(trim(line));
        } else {
            const auto name = cut(line, ":");
            if (line.empty() || name.empty()
                || !std::all_of(name.begin(), name.end(), is_token_char))
                return unreadable(error::bad_field);
            line.remove_prefix(1);
            head.fields.emplace_back(name, trim(line));
        }
        if (std::any_of(line.begin(), line.end(), is_bad_in_value))
            return unreadable(error::bad_value);
    }
    return head;
}

void HeadReader::skip_interim()
{
    if (const auto status = status_line().status;
        status / 100 != 1 || status == switching_protocols)
        return;
    interim_bytes_ += std::exchange(head_bytes_, 0);
    if (interim_bytes_ > max_bytes_) {
        state_ = State::interim_too_large;
        return;
    }
    text_.clear();
    line_at_ = 0;
    state_ = State::incomplete;
}

Exchange::Exchange(ExchangeWords words, std::string request, Secrets secrets,
                   std::size_t max_head_bytes)
    : words_{std::move(words)},
      request_{std::move(request)},
      secrets_{std::move(secrets)},
      reader_{max_head_bytes}
{
}

std::optional<Result<std::size_t>> Exchange::take(std::span<const std::byte> bytes)
{
    std::string_view rest{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    rest.remove_prefix(reader_.take(rest));
    switch (reader_.state()) {
    case HeadReader::State::incomplete: return {};
    case HeadReader::State::not_http: {
        auto first = std::string{reader_.text()};
        first += rest.substr(0, 4 * max_shown_rubbish_bytes);
        return refusal(fmt::format("{} answer is not HTTP/1.1, {}", whose(),
                                   describe_not_http(std::move(first), secrets_, words_.hint)));
    }
    case HeadReader::State::too_large:
        return too_large(fmt::format("the head of {} answer is", whose()));
    case HeadReader::State::interim_too_large:
        return too_large(fmt::format("{} interim answers (1xx) are", whose()));
    case HeadReader::State::complete: break;
    }
    if (auto valid = validate(reader_.parse(), rest); !valid)
        return valid.error();
    return bytes.size() - rest.size();
}

Failure Exchange::ended(error_code cause, std::string_view fate) const
{
    FailureDetails details{
        .attempted = words_.attempted, .endpoint = words_.endpoint, .cause = cause};
    if (cause == boost::asio::error::operation_aborted)
        return {Error::cancelled, std::move(details)};
    const auto* const where = reader_.has_begun() ? "in the middle of" : "before";
    if (!cause || cause == boost::asio::error::eof) {
        details.cause = {};
        details.explanation =
            fmt::format("the {} closed the connection {} its answer", words_.peer, where);
    } else {
        details.explanation = fmt::format(fmt::runtime(words_.broken), fate, where);
    }
    if (words_.hints_if_silent && !reader_.has_begun())
        details.explanation += fmt::format(" ({})", words_.hint);
    const auto line = reader_.text().substr(0, reader_.text().find("\r\n"));
    if (!line.empty())
        details.explanation += ", which began with " + quote(line, secrets_);
    return {Error::connect_failed, std::move(details)};
}

Failure Exchange::refusal(std::string why, FailureDetails details) const
{
    details.attempted = words_.attempted;
    details.endpoint = words_.endpoint;
    details.explanation = std::move(why);
    return {words_.refused, std::move(details)};
}

Failure Exchange::too_large(std::string_view what) const
{
    return refusal(fmt::format("{} longer than {}", what, words_.max_head),
                   {.http_status = static_cast<std::uint16_t>(reader_.status_line().status)});
}

std::string quote(std::string_view text, const Secrets& secrets)
{
    // Secrets::redact() also redacts a secret that is cut off at the end.
    return quote(secrets.redact(std::string{text.substr(0, 4 * max_shown_bytes)}), max_shown_bytes);
}

std::string describe(const HttpHead& head, std::string_view body, const Secrets& secrets)
{
    const auto details = details_of(head);
    auto text = fmt::format("HTTP {}", head.status);
    if (!head.reason.empty())
        text += " " + escape(secrets.redact(head.reason), max_shown_bytes);
    if (!details.location.empty())
        text +=
            ", Location: " + escape(secrets.redact(redact_url(details.location)), max_shown_bytes);
    if (details.retry_after)
        text += fmt::format(", Retry-After: {} s", details.retry_after->count());
    if (const auto readable = readable_body(head, body);
        !readable.empty() && head.status / 100 != 3)
        text += ": " + quote(readable, secrets);
    return text;
}

FailureDetails details_of(const HttpHead& head)
{
    const auto now = chrono::floor<chrono::seconds>(chrono::system_clock::now());
    return {.http_status = static_cast<std::uint16_t>(head.status),
            .location = std::string{head.first_value("Location")},
            .retry_after =
                parse_retry_after(head.first_value("Retry-After"), head.first_value("Date"), now)};
}

std::optional<chrono::sys_seconds> parse_http_date(std::string_view text, chrono::sys_seconds now)
{
    constexpr const char* short_year = "%A, %d-%b-%y %H:%M:%S";
    constexpr const char* without_zone = "%a %b %d %H:%M:%S %Y";
    for (const auto* form : {"%a, %d %b %Y %H:%M:%S", short_year, without_zone}) {
        std::istringstream in{std::string{text.substr(0, 64)}};
        in.imbue(std::locale::classic()); // independent of the application's locale
        std::tm time{};
        if (!(in >> std::get_time(&time, form)))
            continue;
        std::string zone;
        in >> zone;
        if (zone != (form == without_zone ? "" : "GMT"))
            return {};
        const int year = time.tm_year + 1900;
        const auto date = chrono::year{form == short_year ? full_year(year % 100, now) : year}
                          / (time.tm_mon + 1) / time.tm_mday;
        if (!date.ok())
            return {};
        return chrono::sys_days{date} + chrono::hours{time.tm_hour} + chrono::minutes{time.tm_min}
               + chrono::seconds{time.tm_sec};
    }
    return {};
}

std::optional<chrono::seconds> parse_retry_after(std::string_view retry_after,
                                                 std::string_view date, chrono::sys_seconds now)
{
    if (!retry_after.empty() && std::all_of(retry_after.begin(), retry_after.end(), is_digit)) {
        std::int64_t seconds = 0;
        const auto [end, ec] =
            std::from_chars(retry_after.data(), retry_after.data() + retry_after.size(), seconds);
        return ec == std::errc{} ? std::min(chrono::seconds{seconds}, max_retry_after)
                                 : max_retry_after;
    }
    const auto until = parse_http_date(retry_after, now);
    if (!until)
        return {};
    const auto from = parse_http_date(date, now).value_or(now);
    return std::clamp(*until - from, chrono::seconds{0}, max_retry_after);
}

} // namespace sidecar::http
