// The steps of a MockScript, as a test writes them.
#include <sidecar/transports/mock_script.hpp>

#include "player.hpp"
#include "state.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <utility>

namespace sidecar {

using mock::quoted, mock::seconds, mock::Step;

namespace {

std::string limited(std::string text, Duration within)
{
    return within == MockScript::no_limit ? text
                                          : fmt::format("{} within {}", text, seconds(within));
}
std::string delayed(std::string text, Duration delay)
{
    return delay == Duration{} ? text : fmt::format("{} after {}", text, seconds(delay));
}

Step action(std::string text, void (MockConnection::*act)())
{
    return {.kind = Step::Kind::act,
            .text = std::move(text),
            .act = [act](MockConnection& connection) { (connection.*act)(); }};
}

} // namespace

/// Throws Exception (misuse) for a step that can never be met.
MockScript& MockScript::add(Step step)
{
    const char* wrong = nullptr;
    if (!steps_.empty() && steps_.back().kind == Step::Kind::rest)
        wrong = "no step can follow ignore_rest()";
    else if ((step.kind == Step::Kind::expect || step.kind == Step::Kind::ignore) && !step.matches)
        wrong = "the step has no predicate";
    else if (step.kind == Step::Kind::stream && !step.generate)
        wrong = "the stream has no generator";
    if (wrong)
        throw Exception{
            Failure{Error::misuse,
                    {.attempted = fmt::format("add the step \"{}\" to a script", step.text),
                     .explanation = wrong}}};
    steps_.push_back(std::move(step));
    return *this;
}

// --- connects

MockScript& MockScript::accept_after(Duration delay)
{
    return add({.kind = Step::Kind::accept, .text = delayed("accept", delay), .time = delay});
}
MockScript& MockScript::refuse(std::size_t count)
{
    return refuse(count, mock::failure("connect", boost::asio::error::connection_refused,
                                       Error::connect_failed));
}
MockScript& MockScript::refuse(std::size_t count, Failure why)
{
    if (count == 0)
        return *this;
    return add({.kind = Step::Kind::refuse,
                .text = fmt::format("refuse {} connect{}", count, count == 1 ? "" : "s"),
                .count = count,
                .failure = std::move(why)});
}

// --- expectations

MockScript& MockScript::expect(std::string_view text, Duration within)
{
    return expect_if(
        quoted(text),
        [wanted = std::string{text}](const MessageView& message) {
            return message.kind() == MessageKind::text && message.text() == wanted;
        },
        within);
}
MockScript& MockScript::expect(std::span<const std::byte> bytes, Duration within)
{
    const MessageView message{{}, MessageKind::binary, bytes};
    return expect_if(
        quoted(message),
        [wanted = std::string{message.text()}](const MessageView& view) {
            return view.kind() == MessageKind::binary && view.text() == wanted;
        },
        within);
}
MockScript& MockScript::expect_prefix(std::string_view prefix, Duration within)
{
    return expect_if(
        "prefix " + quoted(prefix),
        [wanted = std::string{prefix}](const MessageView& message) {
            return message.text().starts_with(wanted);
        },
        within);
}
MockScript& MockScript::expect_if(std::string_view what, Predicate matches, Duration within)
{
    return add({.kind = Step::Kind::expect,
                .text = limited(fmt::format("expect {}", what), within),
                .time = within,
                .matches = std::move(matches)});
}
MockScript& MockScript::expect_close(std::uint16_t code, Duration within)
{
    return add(
        {.kind = Step::Kind::expect_close,
         .text = limited(code == 0 ? "expect a close" : fmt::format("expect a close with {}", code),
                         within),
         .time = within,
         .code = code});
}
MockScript& MockScript::expect_end(Duration within)
{
    return add({.kind = Step::Kind::expect_end,
                .text = limited("expect the connection's end", within),
                .time = within});
}
MockScript& MockScript::ignore(std::string_view what, Predicate matches)
{
    return add({.kind = Step::Kind::ignore,
                .text = fmt::format("ignore {}", what),
                .matches = std::move(matches)});
}
MockScript& MockScript::ignore_rest()
{
    return add({.kind = Step::Kind::rest, .text = "ignore the rest"});
}

// --- what the peer does

MockScript& MockScript::deliver(std::span<const std::byte> bytes)
{
    const MessageView message{{}, MessageKind::binary, bytes};
    return run("deliver " + quoted(message),
               [payload = std::string{message.text()}](MockConnection& connection) {
                   connection.deliver(std::as_bytes(std::span{payload}));
               });
}
MockScript& MockScript::deliver_after(Duration delay, std::string_view text)
{
    return add({.kind = Step::Kind::act,
                .text = delayed("deliver " + quoted(text), delay),
                .time = delay,
                .act = [payload = std::string{text}](MockConnection& connection) {
                    connection.deliver(payload);
                }});
}
MockScript& MockScript::stream(std::size_t count, Duration period, Generator generate)
{
    return add({.kind = Step::Kind::stream,
                .text = fmt::format("stream {} messages, one each {}", count, seconds(period)),
                .time = period,
                .count = count,
                .generate = std::move(generate)});
}
MockScript& MockScript::wait(Duration duration)
{
    return add({.kind = Step::Kind::act,
                .text = fmt::format("wait {}", seconds(duration)),
                .time = duration});
}
MockScript& MockScript::go_silent() { return add(action("go silent", &MockConnection::go_silent)); }
MockScript& MockScript::hold_writes()
{
    return add(action("hold writes", &MockConnection::hold_writes));
}
MockScript& MockScript::release_writes()
{
    return add(action("release writes", &MockConnection::release_writes));
}
MockScript& MockScript::ignore_close()
{
    return add(action("ignore a close", &MockConnection::ignore_close));
}
MockScript& MockScript::drop() { return add(action("drop", &MockConnection::drop)); }
MockScript& MockScript::reset() { return add(action("reset", &MockConnection::reset)); }
MockScript& MockScript::close(std::uint16_t code, std::string_view reason)
{
    return add({.kind = Step::Kind::act,
                .text = fmt::format("close with {}", code),
                .act = [code, why = std::string{reason}](MockConnection& connection) {
                    connection.close(code, why);
                }});
}
MockScript& MockScript::run(std::string_view what, std::function<void(MockConnection&)> act)
{
    return add({.kind = Step::Kind::act, .text = std::string{what}, .act = std::move(act)});
}

} // namespace sidecar
