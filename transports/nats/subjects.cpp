#include "subjects.hpp"

#include <sidecar/transports/nats.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <random>

namespace sidecar::nats {

namespace {

/// HPUB with a subject and a reply of so many bytes is a line that servers accept.
constexpr std::size_t max_subject_bytes = 1900;

bool is_blank_or_control(char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; }

/// Drawn once in each process.
const std::string& command_mark()
{
    static const std::string mark = [] {
        std::random_device device;
        std::string drawn;
        for (int i = 0; i < 4; ++i) {
            const std::uint32_t number = device();
            drawn.append(reinterpret_cast<const char*>(&number), sizeof number);
        }
        return drawn;
    }();
    return mark;
}

std::string make_command(bool removes, std::string_view subject, const SubscribeOptions& options)
{
    return fmt::format("{}{}{} {} {}", command_mark(), removes ? '-' : '+', options.max_messages,
                       subject, options.queue);
}

} // namespace

const char* fault_of_subject(std::string_view subject, SubjectUse use) noexcept
{
    if (subject.empty())
        return "it is empty";
    if (const char* const fault = fault_of_queue(subject))
        return fault;
    for (std::size_t at = 0; at <= subject.size();) {
        const auto token = subject.substr(at, std::min(subject.find('.', at), subject.size()) - at);
        at += token.size() + 1;
        if (token.empty())
            return "a part between its dots is empty";
        if (use == SubjectUse::publish && (token == "*" || token == ">"))
            return "it has a wildcard; only subscriptions may";
        if (token == ">" && at <= subject.size())
            return "the wildcard '>' is not its last part";
    }
    return nullptr;
}

const char* fault_of_queue(std::string_view queue) noexcept
{
    if (queue.size() > max_subject_bytes)
        return "it has more than 1900 bytes";
    if (std::any_of(queue.begin(), queue.end(), is_blank_or_control))
        return "there is a blank or a control character in it";
    return nullptr;
}

const char* fault_of_header(const Header& header) noexcept
{
    const auto& [name, value] = header;
    if (name.empty() || std::any_of(name.begin(), name.end(), is_blank_or_control)
        || name.find(':') != name.npos)
        return "its name is empty, or there is a blank, a control character or a ':' in it";
    if (value.find_first_of(std::string_view{"\r\n\0", 3}) != value.npos)
        return "there is a line break or a zero byte in its value";
    return nullptr;
}

Subscription subscription(std::string_view subject, const SubscribeOptions& options)
{
    return {.key = options.queue.empty() ? std::string{subject}
                                         : fmt::format("{} {}", subject, options.queue),
            .message = make_command(false, subject, options)};
}

std::string unsubscription(std::string_view subject, const SubscribeOptions& options)
{
    return make_command(true, subject, options);
}

std::optional<Command> parse_command(std::span<const std::byte> payload)
{
    const auto& mark = command_mark();
    auto text = text_of(payload);
    if (text.size() <= mark.size() || !text.starts_with(mark))
        return std::nullopt;
    Command command{.removes = text[mark.size()] == '-'};
    text.remove_prefix(mark.size() + 1);
    const auto end = std::from_chars(text.data(), text.data() + text.size(), command.max_messages);
    text.remove_prefix(static_cast<std::size_t>(end.ptr - text.data()) + 1);
    // A blank in the subject is its fault, which fault_of_subject() finds
    const auto blank = text.rfind(' ');
    command.subject = text.substr(0, blank);
    command.queue = text.substr(blank + 1);
    return command;
}

void Subscriber::append(std::string& out, const Command& command)
{
    const auto& [removes, max_messages, subject, queue] = command;
    auto name = fmt::format("{}{}{}", subject, queue.empty() ? "" : " ", queue);
    const auto to = std::back_inserter(out);
    if (removes) {
        const auto at = numbers_.find(name);
        fmt::format_to(to, "UNSUB {}\r\n", at == numbers_.end() ? 0 : at->second);
        numbers_.erase(name);
        return;
    }
    fmt::format_to(to, "SUB {} {}\r\n", name, ++last_);
    if (max_messages != 0)
        fmt::format_to(to, "UNSUB {} {}\r\n", last_, max_messages);
    numbers_[std::move(name)] = last_;
}

void Subscriber::append_end(std::string& out) const
{
    for (const auto& [name, number] : numbers_)
        fmt::format_to(std::back_inserter(out), "UNSUB {}\r\n", number);
}

} // namespace sidecar::nats
