#include <sidecar/error.hpp>

#include "base/failures.hpp"

#include <boost/asio/error.hpp>
#include <fmt/format.h>

#include <utility>

namespace sidecar {
namespace {

std::string_view describe(Error error)
{
    switch (error) {
    case Error::timed_out: return "timed out";
    case Error::stopping: return "the sidecar is stopping";
    case Error::stopped: return "the sidecar has stopped";
    case Error::not_started: return "the sidecar was not started";
    case Error::already_started: return "the sidecar is already started; stop it first";
    case Error::not_connected: return "not connected";
    case Error::full: return "the outbox is full";
    case Error::too_big: return "the message is larger than the limit";
    case Error::misuse: return "the call cannot be made from here";
    case Error::forked: return "the process has forked; the sidecar lives in the parent only";
    case Error::bad_options: return "the options make no sense";
    case Error::bad_address: return "the address cannot be understood";
    case Error::connect_failed: return "the connection could not be made";
    case Error::disconnected: return "the connection broke";
    case Error::closed_by_peer: return "the peer closed the connection";
    case Error::protocol_violation: return "the peer broke the protocol";
    case Error::lookup_failed: return "the name could not be resolved";
    case Error::lookup_busy: return "too many name look-ups are outstanding";
    case Error::cancelled: return "cancelled";
    case Error::callback_failed: return "the application's code threw an exception";
    case Error::handshake_refused: return "the peer refused the handshake";
    case Error::bad_message: return "the message cannot be sent on this transport";
    case Error::no_resources: return "the operating system refused a resource";
    case Error::tls_failed: return "the connection could not be secured";
    case Error::gap: return "messages are missing here";
    case Error::wrong_connection: return "the connection that it was meant for is gone";
    case Error::unresponsive: return "the peer gave no sign of life in time";
    case Error::overflow: return "the link's queue of received messages is full";
    case Error::unacknowledged: return "not all subscriptions were answered";
    case Error::link_closed: return "the link was closed by the application";
    case Error::expired: return "a message was dropped, for its time was over";
    case Error::login_refused: return "the peer refused the login";
    case Error::time_limit: return "virtual time cannot pass";
    case Error::script_failed: return "the test's script was not met";
    case Error::no_responders: return "nobody listens to the topic";
    }
    return "unknown error";
}

/// Escapes control characters (C0, DEL, and C1 in its UTF-8 form) in a text of the peer: in logs
/// and on terminals they would begin new lines, and worse.
std::string without_controls(std::string_view text)
{
    std::string result;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        const bool is_c1 =
            byte == 0xc2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0;
        if (is_c1)
            result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++at]));
        else if (byte < 0x20 || byte == 0x7f)
            result += fmt::format("\\x{:02x}", byte);
        else
            result += text[at];
    }
    return result;
}

class Category final : public boost::system::error_category {
public:
    const char* name() const noexcept override { return "sidecar"; }
    std::string message(int value) const override
    {
        return std::string{describe(static_cast<Error>(value))};
    }
};

} // namespace

const boost::system::error_category& error_category() noexcept
{
    static const Category category;
    return category;
}

error_code make_error_code(Error error) noexcept
{
    return {static_cast<int>(error), error_category()};
}

Failure::Failure(Error error, FailureDetails details)
    : error_{error}, details_{std::make_shared<const FailureDetails>(std::move(details))}
{
}

const FailureDetails& Failure::details() const noexcept
{
    static const FailureDetails none;
    return details_ ? *details_ : none;
}

Failure Failure::with(FailureDetails details) const
{
    auto changed = *this;
    changed.details_ = std::make_shared<const FailureDetails>(std::move(details));
    return changed;
}

Failure Failure::with_attempt(std::string attempted, std::string endpoint) const
{
    auto changed = details();
    changed.attempted = std::move(attempted);
    changed.endpoint = std::move(endpoint);
    return with(std::move(changed));
}

Failure Failure::with_explanation(std::string explanation) const
{
    auto changed = details();
    changed.explanation = std::move(explanation);
    return with(std::move(changed));
}

Failure Failure::with_trace(ConnectTrace trace) const
{
    auto changed = details();
    changed.trace = std::move(trace);
    return with(std::move(changed));
}

Failure Failure::with_link(LinkId link) const noexcept
{
    auto changed = *this;
    changed.link_ = link;
    return changed;
}

Failure Failure::with_retry(bool will_retry) const noexcept
{
    auto changed = *this;
    changed.will_retry_ = will_retry;
    return changed;
}

std::string Failure::message() const
{
    const auto& d = details();
    std::string text;
    if (!d.attempted.empty())
        text += fmt::format("cannot {}", d.attempted);
    if (!d.endpoint.empty())
        text +=
            fmt::format("{}{}", text.empty() ? "" : " (", d.endpoint) + (text.empty() ? "" : ")");
    if (!text.empty())
        text += ": ";
    text += code().message();
    if (d.close_code != 0)
        text += fmt::format(", close code {}", d.close_code);
    if (!d.close_reason.empty())
        text += fmt::format(" \"{}\"", without_controls(d.close_reason));
    if (!d.explanation.empty())
        text += fmt::format(": {}", d.explanation);
    if (d.cause)
        text += fmt::format(": {}", d.cause.message());
    return text;
}

Exception::Exception(Failure failure)
    : system_error{failure.code()}, failure_{std::move(failure)}, message_{failure_.message()}
{
}

void throw_exception_from_error(const Failure& failure, const boost::source_location&)
{
    throw Exception{failure};
}

Failure to_failure(std::exception_ptr exception, Error code, std::string_view attempted,
                   std::string_view endpoint) noexcept
{
    return detail::thrown_by({}, std::move(exception), code, attempted, endpoint);
}

Failure detail::thrown_by(std::string_view function, std::exception_ptr exception, Error code,
                          std::string_view attempted, std::string_view endpoint) noexcept
try {
    FailureDetails details{.attempted = std::string{attempted}, .endpoint = std::string{endpoint}};
    std::string why;
    try {
        std::rethrow_exception(std::move(exception));
    } catch (const Exception& e) {
        return e.failure();
    } catch (const boost::system::system_error& e) {
        details.cause = e.code();
        if (e.code() == boost::asio::error::operation_aborted)
            code = Error::cancelled;
        else if (e.code().category() == error_category())
            code = static_cast<Error>(e.code().value());
    } catch (const std::exception& e) {
        why = e.what();
    } catch (...) {
        why = function.empty() ? "an exception of unknown type" : "";
    }
    if (!function.empty())
        why = fmt::format("{} threw{}{}", function, why.empty() ? "" : ": ", why);
    details.explanation = std::move(why);
    return {code, std::move(details)};
} catch (...) { // no memory for the texts
    return code;
}

} // namespace sidecar
