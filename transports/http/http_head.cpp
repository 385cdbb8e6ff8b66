#include "http_head.hpp"

#include "uri.hpp"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/version.hpp>

#include <algorithm>
#include <limits>

namespace sidecar::http {
namespace {

namespace http = boost::beast::http;

/// What an answer begins with; '#' is a digit. RFC 9112 section 4.
constexpr std::string_view start_pattern = "HTTP/1.# ###";

bool is_space(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text)
{
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    return text;
}

/// Takes the fields as Beast finds them. Not http::fields: a value there has at most 65,533 bytes.
class FieldParser final : public http::basic_parser<false> {
public:
    explicit FieldParser(HttpHead& head) : head_{head}
    {
        header_limit(std::numeric_limits<std::uint32_t>::max());
        skip(true);
    }

private:
    using View = boost::beast::string_view;
    void on_request_impl(http::verb, View, View, int, error_code&) override {}
    void on_response_impl(int, View, int, error_code&) override {}
    void on_field_impl(http::field, View name, View value, error_code&) override
    {
        head_.fields.emplace_back(std::string{name}, std::string{value});
    }
#if BOOST_BEAST_VERSION >= 359 // Boost 1.90
    void on_trailer_field_impl(http::field, View, View, error_code&) override {}
#endif
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
    std::size_t on_body_impl(View, error_code&) override { return 0; }
    void on_chunk_header_impl(std::uint64_t, View, error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, View, error_code&) override { return 0; }
    void on_finish_impl(error_code&) override {}

    HttpHead& head_; // sidecar side
};

/// Fields that say how long a body is. Beast judges them, but nobody here reads a body.
bool is_about_body(std::string_view line)
{
    const auto name = line.substr(0, line.find(':'));
    return equal_ignoring_case(name, "Content-Length")
           || equal_ignoring_case(name, "Transfer-Encoding")
           || equal_ignoring_case(name, "Proxy-Connection");
}

/// Takes the lines about the body out of `text`, folded ones whole, and into the head.
std::string without_body_fields(std::string_view text, HttpHead& head)
{
    std::string rest;
    rest.reserve(text.size());
    bool is_leaving_out = false;
    while (!text.empty()) {
        const auto line = text.substr(0, text.find("\r\n") + 2);
        text.remove_prefix(line.size());
        if (!is_space(line.front()))
            is_leaving_out = is_about_body(line);
        if (!is_leaving_out) {
            rest += line;
        } else if (const auto colon = line.find(':'); colon != line.npos) {
            const auto value = line.substr(colon + 1, line.size() - colon - 3);
            head.fields.emplace_back(line.substr(0, colon), trim(value));
        }
    }
    return rest;
}

} // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept
{
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : int{c}; };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [&](char x, char y) { return lower(x) == lower(y); });
}

std::vector<std::string_view> HttpHead::values(std::string_view name) const
{
    std::vector<std::string_view> result;
    for (const auto& [field, value] : fields)
        if (equal_ignoring_case(field, name))
            result.emplace_back(value);
    return result;
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
    const auto before = received_bytes_;
    while (state_ == State::incomplete && !bytes.empty()) {
        const auto taken = is_at_start() ? take_start(bytes) : take_line(bytes);
        received_bytes_ += taken;
        bytes.remove_prefix(taken);
    }
    return received_bytes_ - before;
}

bool HeadReader::is_at_start() const noexcept
{
    return line_at_ == 0 && text_.size() <= start_pattern.size();
}

/// One byte; what no answer can begin with is told at once.
std::size_t HeadReader::take_start(std::string_view bytes)
{
    const char c = bytes.front();
    const auto at = text_.size();
    const bool fits = at == start_pattern.size() ? c == ' ' || c == '\r' || c == '\n'
                      : start_pattern[at] == '#' ? is_digit(c)
                                                 : c == start_pattern[at];
    if (!fits) {
        state_ = State::not_http;
        return 0;
    }
    return take_line(bytes.substr(0, 1));
}

/// Up to the end of the line, if it has come.
std::size_t HeadReader::take_line(std::string_view bytes)
{
    const auto end = bytes.find('\n');
    const auto taken = end == bytes.npos ? bytes.size() : end + 1;
    if (received_bytes_ + taken > max_bytes_) {
        state_ = State::too_large;
        return 0;
    }
    text_ += bytes.substr(0, end);
    if (end != bytes.npos)
        end_line();
    return taken;
}

/// A line feed alone ends a line too, RFC 9112 section 2.2.
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

Result<HttpHead> HeadReader::parse() const
{
    auto head = status_line();
    const auto fields = std::string_view{text_}.substr(text_.find("\r\n") + 2);
    // The status line is judged already, and less strictly: Beast demands the space behind the
    // status.
    const auto text = "HTTP/1.1 200 \r\n" + without_body_fields(fields, head);
    FieldParser parser{head};
    error_code ec;
    parser.put(boost::asio::buffer(text), ec);
    if (ec || !parser.is_header_done())
        return Failure{Error::protocol_violation, {.cause = ec}};
    return head;
}

void HeadReader::reset() noexcept
{
    text_.clear();
    line_at_ = 0;
    received_bytes_ = 0;
    state_ = State::incomplete;
}

} // namespace sidecar::http
